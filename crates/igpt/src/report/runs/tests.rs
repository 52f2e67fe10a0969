use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::*;
use crate::evaluate::{BaselineScores, Likelihood};
use crate::formats::png::{self, TextChunks};
use crate::generate;
use crate::image::{ImageSize, Pixels};
use crate::model::ModelConfig;
use crate::palette::{Distortion, Palette, Quantizer};
use crate::report::page::{Block, Completion, ImageWithMap, Page, Table};

const MADE: &str = "igpt report runs/a --out a.html";

/// A probe of two layers, with a classifier and the validation accuracies of raw pixels and random weights.
fn report(solver: &str, raw_pixels: f64, random_init: f64) -> Value {
    let verdict = |share: f64| json!({"validation_accuracy": share, "test_accuracy": share, "interval": [0.2, 0.5]});
    json!({
        "layers": [0, 1], "validation_accuracy": [0.5, 0.7], "best_layer": 1, "strength": 0.1, "test_accuracy": 0.65,
        "interval": [0.6, 0.7], "classes": ["cats", "dogs"], "confusion": [[3, 1], [0, 8]], "images": [100, 50, 12],
        "unlabelled": 0, "solver": solver,
        "baselines": {
            "raw_pixels": 0.4, "random_init": 0.3, "majority": 0.2, "raw_pixels_verdict": verdict(raw_pixels),
            "random_init_verdict": verdict(random_init), "random_init_layer": 1,
        },
    })
}

fn saved(report: Value) -> Option<LayerProbes> {
    Some(LayerProbes { report: serde_json::from_value(report).unwrap(), command: None, quick: false })
}

/// Findings about a run of 4×4 images, with all fields set.
fn run(name: &str) -> Findings {
    let size = ImageSize::square(4);
    let palette = Palette::new(vec![[-1.0; 3], [0.0; 3], [1.0; 3]], 3).unwrap();
    let image = Pixels::new(size, 3, vec![99; 48]);
    let row = |step: u64| {
        serde_json::from_value(json!({
            "step": step, "tokens": 16 * step, "epoch": 1.0, "split": "validation", "loss": 1.0 / step as f64,
            "bits_per_dim": 1.0, "probe_accuracy": 0.5, "elapsed_s": step,
        }))
        .unwrap()
    };
    let drawn = ModelPictures {
        settings: generate::SamplingSettings::default(),
        samples: vec![vec![1; 16]; 2],
        completions: vec![Completion {
            name: "cat".into(),
            input: image.clone(),
            completions: vec![image.clone()],
            original: image.clone(),
        }],
        rows: 2,
    };
    Findings {
        run: Path::new("runs").join(name),
        name: name.into(),
        data: "my photos".into(),
        data_dir: None,
        own_data: true,
        from_scratch: false,
        train_images: 100,
        test_images: 12,
        looked_at: 2,
        config: ModelConfig::new(size, 3, 16, 1, 2),
        quantizer: Quantizer::new(palette),
        metrics: vec![row(1), row(2)],
        taken: Some(2),
        likelihood: Some(Likelihood::of(&[8.0, 9.0], 16, 3).unwrap()),
        baselines: BaselineScores { uniform: 1.1, unigram: 1.0, context: 0.9 },
        distortion: Distortion { mse: 1.0, psnr_db: 48.0, used: 3, dead: 0, entropy_bits: 1.0, pixels: 32 },
        has_pixels: true,
        drawn: Some(drawn),
        over_time: vec![(2, png::encode(&image, &TextChunks::none()))],
        odd: vec![ImageWithMap { name: "cat".into(), image: image.clone(), map: image }],
        odd_by: None,
        probe: saved(report("lbfgs", 0.4, 0.3)),
        map: Some(FeatureMap {
            layer: 1,
            classes: vec![("cats".into(), vec![(0.0, 0.0), (1.0, 1.0)])],
            explained: [0.6, 0.2],
        }),
        classifier: None,
        absent: Vec::new(),
    }
}

fn page_of(runs: &[Findings]) -> Page {
    run_page(runs, MADE, "portable", 0)
}

fn blocks<'a>(page: &'a Page, heading: &str) -> &'a [Block] {
    &page.sections.iter().find(|section| section.heading == heading).unwrap().blocks
}

fn commands<'a>(page: &'a Page, heading: &str) -> Vec<&'a str> {
    let command = |block: &'a Block| match block {
        Block::Command(line) => Some(line.as_str()),
        _ => None,
    };
    blocks(page, heading).iter().filter_map(command).collect()
}

fn table<'a>(page: &'a Page, heading: &str) -> &'a Table {
    let table = |block: &'a Block| match block {
        Block::Table(table) => Some(table),
        _ => None,
    };
    blocks(page, heading).iter().find_map(table).unwrap()
}

/// Reference lines (name, value) of the chart of accuracy by layer.
fn levels(runs: &[Findings]) -> Vec<(String, f64)> {
    let page = page_of(runs);
    let Block::Chart(chart) = &blocks(&page, "What the layers know")[0] else { panic!("no chart") };
    chart.levels.iter().map(|level| (level.name.clone(), level.value)).collect()
}

#[test]
fn every_figure_has_the_command_that_makes_it() {
    for runs in [vec![run("a")], vec![run("a"), run("b")]] {
        let mut shown = 0;
        for section in page_of(&runs).sections {
            let is_command = |block: &Block| matches!(block, Block::Command(_));
            let is_word = |block: &Block| matches!(block, Block::Heading(_) | Block::Caption(_) | Block::Commands(_));
            let figure = section.blocks.iter().rposition(|block| !is_command(block) && !is_word(block));
            let command = section.blocks.iter().rposition(is_command);
            assert!(command >= figure, "{} of {} runs", section.heading, runs.len());
            shown += usize::from(figure.is_some());
        }
        // A single run has a table of figures; several have one comparison table.
        assert_eq!(shown, 10);
    }
}

#[test]
fn commands_make_the_figures_that_they_stand_under() {
    let both = page_of(&[run("a"), run("b")]);
    let again =
        ["a", "b"].map(|run| format!("igpt pretrain --config runs/{run}/config.resolved.toml --out runs/{run}-again"));
    for heading in ["Learning", "Samples over time", "Likelihood and features"] {
        assert_eq!(commands(&both, heading), again, "{heading}");
    }
    for heading in ["At a glance", "A map of the features"] {
        assert_eq!(commands(&both, heading), [MADE], "{heading}");
    }
    let inspect = "igpt palette inspect --palette runs/a --data 'my photos' --split test --n-px 4 --out palette.png";
    assert_eq!(commands(&page_of(&[run("a")]), "Palette"), [inspect]);
    let wide = ImageSize { height: 2, width: 8 };
    let run = Findings { config: ModelConfig::new(wide, 3, 16, 1, 2), over_time: Vec::new(), ..run("a") };
    let page = page_of(&[run]);
    assert!(!commands(&page, "Palette")[0].contains("--n-px"));
    assert_eq!(blocks(&page, "Samples over time").len(), 0);
}

#[test]
fn runs_share_the_levels_of_baselines_that_are_alike() {
    let probed = |name: &str, raw, random| Findings { probe: saved(report("lbfgs", raw, random)), ..run(name) };
    let expect = |runs: &[Findings], expected: &[(&str, f64)]| {
        let found = levels(runs);
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, expected.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        assert!(found.iter().zip(expected).all(|(found, expected)| (found.1 - expected.1).abs() < 1e-9), "{found:?}");
    };
    let a = probed("a", 0.400, 0.30);
    expect(std::slice::from_ref(&a), &[("raw pixels", 40.0), ("random weights", 30.0)]);
    let two = [a, probed("b", 0.404, 0.35)];
    expect(&two, &[("raw pixels", 40.4), ("random weights (b)", 35.0), ("random weights (a)", 30.0)]);
    // The third is near to the second, but not to the first.
    let three = [("a", 0.400), ("b", 0.404), ("c", 0.408)].map(|(name, raw)| probed(name, raw, 0.3));
    expect(&three, &[("raw pixels (c, b)", 40.8), ("raw pixels (a)", 40.0), ("random weights", 30.0)]);
    let many: Vec<_> = (0..5).map(|i| probed(&i.to_string(), 0.4, 0.1 * f64::from(i))).collect();
    expect(&many, &[("raw pixels", 40.0)]);
}

#[test]
fn a_probe_is_shown_with_its_classifier_and_how_many_images_it_had() {
    let ridge = || Findings { probe: saved(report("ridge", 0.4, 0.3)), ..run("a") };
    let alone = page_of(&[ridge()]);
    let row = &table(&alone, "What the layers know").rows[0];
    assert!(row.contains(&"100 + 50".into()), "{row:?}");
    assert!(alone.html().contains("a (ridge regression, 100 training images)"));
    let both = page_of(&[ridge(), run("b")]);
    let glance = &table(&both, "At a glance").rows;
    assert!(glance[0].contains(&"65.0 % (layer 1; ridge regression, 100 training images)".into()), "{glance:?}");
    assert!(glance[1].contains(&"65.0 % (layer 1; logistic regression, 100 training images)".into()), "{glance:?}");
}

#[test]
fn a_quick_probe_has_the_pages_command_and_the_one_of_a_thorough_probe() {
    let mut quick = run("a");
    quick.probe.as_mut().unwrap().quick = true;
    let thorough = "igpt probe --model runs/a --data 'my photos' --out runs/a/probe";
    assert_eq!(commands(&page_of(&[quick]), "What the layers know"), [MADE, thorough]);
    assert_eq!(commands(&page_of(&[run("a")]), "What the layers know"), [thorough]);
}

#[test]
fn a_confusion_matrix_is_shown_of_a_single_runs_saved_probe() {
    let has_matrix = |runs: &[Findings]| {
        blocks(&page_of(runs), "What the layers know").iter().any(|block| matches!(block, Block::Matrix(_)))
    };
    assert!(has_matrix(&[run("a")]));
    assert!(!has_matrix(&[run("a"), run("b")]));
    let mut quick = run("a");
    quick.probe.as_mut().unwrap().quick = true;
    assert!(!has_matrix(&[quick]));
    let html = page_of(&[run("a")]).html();
    // A quarter of the cats are taken for dogs, and no dog for a cat.
    assert!(
        html.contains("cats</th><td style='--share:75.0%'>75</td><td style='--share:25.0%'>25</td></tr>"),
        "{html}"
    );
    assert!(html.contains("dogs</th><td></td><td style='--share:100.0%'>100</td></tr>"), "{html}");
}

#[test]
fn a_saved_probe_that_is_older_than_the_weights_is_not_passed_off_as_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::create_dir(folder.join("model")).unwrap();
    fs::create_dir(folder.join("probe")).unwrap();
    fs::write(folder.join("model/config.json"), "{}").unwrap();
    let mut results = report("lbfgs", 0.4, 0.3);
    results["data"] = "emoji".into();
    let write = |name: &str, text: &str, hours: u64| {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(3600 * hours);
        fs::write(folder.join(name), text).unwrap();
        fs::File::options().write(true).open(folder.join(name)).unwrap().set_modified(time).unwrap();
    };
    let mut absent = Vec::new();
    write("probe/results.json", &results.to_string(), 9);
    write("model/model.safetensors", "", 8);
    let mut look = |spec: &str, n_layer| LayerProbes::saved(folder, spec, n_layer, &mut absent).unwrap();
    assert_eq!(look("emoji", 1).unwrap().report.images, [100, 50, 12]);
    assert!(look("mnist", 1).is_none() && look("emoji", 0).is_none());
    // The run was resumed.
    write("model/model.safetensors", "", 10);
    assert!(look("emoji", 1).is_none());
    let [why] = &absent[..] else { panic!("{absent:?}") };
    assert!(why.contains("probe/results.json: it is older than the weights"), "{why}");
}
