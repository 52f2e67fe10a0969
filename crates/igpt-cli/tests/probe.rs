//! `igpt embed` and `igpt probe` through the binary, on a tiny model of random weights and a folder of few colours.

mod program;

use std::path::Path;
use std::process::Output;

use igpt::formats::png::{self, TextChunks};
use igpt::image::{ImageSize, Pixels};
use igpt::model::{ModelCard, ModelConfig, ModelDir, ParamLayout, SaveType};
use igpt::palette::Palette;

use program::{igpt, json};

const SIDE: usize = 8;

/// What a run that must fail says.
fn refusal(output: &Output) -> String {
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(!words.contains("panicked"), "{words}");
    words
}

/// Saves a model of one block as `m`.
fn model(folder: &Path) {
    let colors = (0..27).map(|i| [i / 9, i / 3 % 3, i % 3].map(|v| v as f32 - 1.0)).collect();
    let palette = Palette::new(colors, 3).unwrap();
    let config = ModelConfig::new(ImageSize::square(SIDE), 27, 16, 1, 2);
    let layout = ParamLayout::new(&config);
    let mut weights = vec![0.0; layout.parameters()];
    layout.init(1, &mut weights);
    let model = ModelDir { config, palette, weights, extra: Default::default() };
    model.save(folder.join("m"), &ModelCard::default(), SaveType::F32).unwrap();
}

/// A noisy picture, mostly red, green or blue.
fn picture(path: &Path, channel: usize, seed: usize) {
    let value = |i: usize| {
        let noise = (i * 7919 + seed * 104_729) % 97;
        if i % 3 == channel { 150 + noise } else { noise }
    };
    let data = (0..12 * 12 * 3).map(|i| value(i) as u8).collect();
    png::save(path, &Pixels::new(ImageSize::square(12), 3, data), &TextChunks::new("noise")).unwrap();
}

/// Pictures of each class (a sub-folder of `root`; its channel).
fn pictures(root: &Path, classes: &[(&str, usize)], count: usize) {
    for (class, channel) in classes {
        (0..count).for_each(|i| picture(&root.join(class).join(format!("{i:02}.png")), *channel, 31 * i + channel));
    }
}

const CLASSES: [(&str, usize); 3] = [("blue", 2), ("green", 1), ("red", 0)];

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path());
    pictures(&folder.path().join("pics"), &CLASSES, 20);
    folder
}

/// The values of an array, after its header.
fn array(path: &Path, shape: &str) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    let data = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = String::from_utf8_lossy(&bytes[..data]).into_owned();
    assert!(header.contains(shape), "{header}");
    bytes[data..].chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

#[test]
fn embeddings_are_an_array_of_all_layers_with_a_list_beside_it() {
    let folder = folder();
    let embed =
        |arguments: &str| json(&igpt(folder.path(), &format!("embed --model m --data pics {arguments} --json")));
    let summary = embed("--out out/all.npy");
    assert_eq!((&summary["images"], &summary["shape"]), (&60.into(), &serde_json::json!([60, 2, 16])));
    let all = array(&folder.path().join("out/all.npy"), "(60, 2, 16,)");
    let list = std::fs::read_to_string(folder.path().join("out/all.tsv")).unwrap();
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(
        (lines.len(), lines[0], lines[1], lines[60]),
        (61, "name\tlabel", "blue/00.png\tblue", "red/19.png\tred")
    );

    embed("--layers 1 --threads 1 --out one.npy");
    let one = array(&folder.path().join("one.npy"), "(60, 1, 16,)");
    let last: Vec<f32> = all.chunks(32).flat_map(|image| &image[16..]).copied().collect();
    assert_eq!(one, last);

    embed("--layers 1 --pool none --split test --out none.npy");
    embed("--layers 1 --pool mean --split test --precision f32 --out mean.npy");
    let none = array(&folder.path().join("none.npy"), "(6, 1, 64, 16,)");
    let mean = array(&folder.path().join("mean.npy"), "(6, 1, 16,)");
    for (image, mean) in none.chunks(64 * 16).zip(mean.chunks(16)) {
        for (c, mean) in mean.iter().enumerate() {
            let sum: f64 = image.iter().skip(c).step_by(16).map(|&x| f64::from(x)).sum();
            assert!((sum / 64.0 - f64::from(*mean)).abs() < 1e-6);
        }
    }
}

#[test]
fn tables_hold_the_same_values_and_leave_damaged_images_out() {
    let folder = folder();
    // One of 121 is less than 1 %.
    pictures(&folder.path().join("many"), &CLASSES, 40);
    std::fs::write(folder.path().join("many/green/broken.png"), b"\x89PNG\r\n\x1a\nnothing").unwrap();
    let embed = |out: &str| igpt(folder.path(), &format!("embed --model m --data many --layers 0 --out {out} --json"));
    let output = embed("f.csv");
    let summary = json(&output);
    assert_eq!((&summary["images"], &summary["damaged"]), (&120.into(), &serde_json::json!(["green/broken.png"])));
    assert!(String::from_utf8_lossy(&output.stderr).contains("skipped green/broken.png"));
    json(&embed("f.npy"));
    let values = array(&folder.path().join("f.npy"), "(120, 1, 16,)");
    let text = std::fs::read_to_string(folder.path().join("f.csv")).unwrap();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!((rows[0][..3].join(","), rows[0][17]), ("filename,label,embedding_0".into(), "embedding_15"));
    assert_eq!(rows[120][..2], ["red/39.png", "red"]);
    let table: Vec<f32> = rows[1..].iter().flat_map(|row| &row[2..]).map(|x| x.parse().unwrap()).collect();
    assert_eq!(table, values);
    json(&embed("f.parquet"));
    let bytes = std::fs::read(folder.path().join("f.parquet")).unwrap();
    assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
    assert_eq!(
        std::fs::read_dir(folder.path())
            .unwrap()
            .filter(|e| { e.as_ref().unwrap().path().extension().is_some_and(|e| e == "partial") })
            .count(),
        0
    );
}

#[test]
fn a_probe_tells_colours_apart_and_shows_its_baselines() {
    let folder = folder();
    let arguments = "probe --model m --data pics --labels-per-class 2,5 --seeds 3 --concat 2 --out o --json";
    let output = igpt(folder.path(), arguments);
    let found = json(&output);
    assert_eq!(found["validation_accuracy"].as_array().unwrap().len(), 2);
    assert_eq!((&found["layers"], &found["images"]), (&serde_json::json!([0, 1]), &serde_json::json!([48, 6, 6])));
    assert_eq!(found["test_accuracy"], 1.0, "{found}");
    let [low, high] = [0, 1].map(|i| found["interval"][i].as_f64().unwrap());
    assert!(low > 0.5 && low < 0.7 && high > 0.999, "{low} {high}");
    assert_eq!(found["baselines"]["raw_pixels"], 1.0);
    assert!(found["baselines"]["random_init"].as_f64().unwrap() > 0.5);
    assert!(found["baselines"]["majority"].as_f64().unwrap() <= 0.7);
    assert_eq!(found["classes"], serde_json::json!(["blue", "green", "red"]));
    let confusion: u64 = (0..3).map(|c| found["confusion"][c][c].as_u64().unwrap()).sum();
    assert_eq!(confusion, 6);
    assert_eq!(found["concat"]["layers"], serde_json::json!([0, 1]));
    let few = found["few_labels"].as_array().unwrap();
    assert_eq!((few.len(), &few[1]["labels_per_class"]), (2, &5.into()));
    assert_eq!(few[0]["test_accuracy"].as_array().unwrap().len(), 3);
    assert!(few[0]["raw_pixels"]["mean"].as_f64().unwrap() > 0.5);
    assert!(found["strength"].as_f64().is_some());
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains("best") && words.contains("confusion") && words.contains("majority class"), "{words}");
    assert!(std::fs::read_to_string(folder.path().join("o/layers.svg")).unwrap().contains("raw pixels"));
    let saved: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("o/results.json")).unwrap()).unwrap();
    assert_eq!(saved, found);
}

#[test]
fn every_solver_probes_and_threads_change_nothing() {
    let folder = folder();
    for solver in ["lbfgs", "sgd", "ridge", "knn"] {
        let run = |threads: usize| {
            let flags = format!("--solver {solver} --images 30 --precision bf16 --layers 1 --threads {threads}");
            let mut found = json(&igpt(folder.path(), &format!("probe --model m --data pics {flags} --json")));
            for own in ["seconds", "command"] {
                found[own] = 0.into();
            }
            found
        };
        let found = run(1);
        assert_eq!((&found["images"][0], &found["solver"]), (&30.into(), &solver.into()));
        assert!(found["test_accuracy"].as_f64().unwrap() > 0.8, "{solver}: {found}");
        assert_eq!(found, run(2), "{solver}");
    }
}

#[test]
fn labels_that_no_probe_can_be_made_of_are_refused() {
    let folder = folder();
    let place = |name: &str| folder.path().join(name);
    let probe = |flags: &str| refusal(&igpt(folder.path(), &format!("probe --model m {flags}")));

    (0..20).for_each(|i| picture(&place("flat").join(format!("{i}.png")), 0, i));
    let words = probe("--data flat");
    assert!(words.contains("flat have no labels") && words.contains("sub-folder"), "{words}");

    pictures(&place("single"), &[("red", 0)], 20);
    assert!(probe("--data single").contains("one class, red"));

    pictures(&place("missing/train"), &[("red", 0), ("blue", 2)], 20);
    pictures(&place("missing/test"), &[("green", 1)], 2);
    let words = probe("--data missing");
    assert!(words.contains("class green is in the test split") && words.contains("not in train"), "{words}");

    pictures(&place("differ/train"), &CLASSES, 20);
    (0..4).for_each(|i| picture(&place("differ/test").join(format!("{i}.png")), 0, i));
    let words = probe("--data differ");
    assert!(words.contains("labels differ between the splits") && words.contains("no image of test"), "{words}");

    let words = probe("--data pics --layers 0,2");
    assert!(words.contains("layer 2 was asked for") && words.contains("0 to 1"), "{words}");
    let words = probe("--data pics --labels-per-class 4,100");
    assert!(words.contains("too few for 100 labels a class"), "{words}");
    assert!(probe("--data pics --concat 5").contains("say 2 to 2"));
    assert!(refusal(&igpt(folder.path(), "embed --model m --data pics --layers 9 --out f.npy")).contains("layer 9"));
    let output = igpt(folder.path(), "embed --model m --data pics --out f.txt");
    assert!(output.status.code() == Some(2) && String::from_utf8_lossy(&output.stderr).contains(".parquet"));
}

#[test]
fn a_run_that_probes_trains_the_same_model_and_writes_its_accuracy() {
    let folder = folder();
    let train = |out: &str, probe: &str| {
        let sizes = "--set model.n_embd=16 --set model.n_layer=2 --set model.n_head=2 --n-px 8 --colors 8";
        let budget = format!("--steps 4 --batch 4 --set train.eval_every=2 {probe}");
        json(&igpt(folder.path(), &format!("pretrain --data pics {sizes} {budget} --out {out} --json")));
        let rows = std::fs::read_to_string(folder.path().join(out).join("metrics.jsonl")).unwrap();
        let rows = rows.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        rows.filter(|row| row["split"] == "validation").collect::<Vec<_>>()
    };
    let without = train("without", "--set train.probe_images=0");
    // So short a run has no time for a probe that is not asked for; a number that is asked for is probed every time.
    let short = train("short", "--set train.eval_images=40");
    assert!(short.iter().all(|row| row.get("probe_accuracy").is_none()), "{short:?}");
    let with = train("with", "--set train.eval_images=40 --set train.probe_images=40");
    assert_eq!(with.len(), 2);
    assert!(with.iter().all(|row| row["probe_accuracy"].is_number()), "{with:?}");
    assert!(with[1]["probe_accuracy"].as_f64().unwrap() > 0.6, "{with:?}");
    assert!((0..=2).contains(&with[1]["probe_layer"].as_u64().unwrap()));
    for (with, without) in with.iter().zip(&without) {
        assert!(without.get("probe_accuracy").is_none());
        assert_eq!(with["loss"], without["loss"]);
    }
    let weights = |out: &str| std::fs::read(folder.path().join(out).join("model/model.safetensors")).unwrap();
    assert!(weights("with") == weights("without"));
}
