//! The sections of the page, each for one run or several: several come one below the other under their names, or share a
//! chart.

use super::findings::Findings;
use super::words::{duration, grouped, percent, readable_order};
use crate::data::Pixels;
use crate::report::chart::{Level, Look, Series};
use crate::report::page::{Block, Command, Figure, Swatch, Table};
use crate::report::{Chart, gif, grid, readable_scale};
use crate::train::Row;

/// Samples in the animation.
const ANIMATED: usize = 8;
/// Samples and odd images of each of several runs.
const SHARED: usize = 16;

/// `blocks` of each run that has any, under the run's name if there are several runs.
fn each(runs: &[Findings], blocks: impl Fn(&Findings) -> Vec<Block>) -> Vec<Block> {
    let named = |run: &Findings| {
        let blocks = blocks(run);
        let name = (runs.len() > 1 && !blocks.is_empty()).then(|| Block::Heading(name(run)));
        name.into_iter().chain(blocks).collect::<Vec<_>>()
    };
    runs.iter().flat_map(named).collect()
}

fn name(run: &Findings) -> String {
    run.run.display().to_string()
}

fn validations(run: &Findings) -> impl Iterator<Item = &Row> {
    run.metrics.iter().filter(|row| row.split == "validation")
}

pub(super) fn samples(runs: &[Findings]) -> Vec<Block> {
    let alone = runs.len() == 1;
    each(runs, |run| {
        let Some(drawn) = &run.drawn else { return Vec::new() };
        let size = run.config.n_px;
        let shown = &drawn.samples[..if alone { drawn.samples.len() } else { SHARED.min(drawn.samples.len()) }];
        let images: Vec<Pixels> = shown.iter().map(|tokens| run.quantizer.pixels(tokens, size)).collect();
        let (n, how) = (shown.len(), &drawn.settings);
        let mut blocks = vec![
            Block::Images(images.clone()),
            Block::Caption(format!("The first {n} images of {how}, in order: none was picked or left out.")),
        ];
        if alone {
            let n = ANIMATED.min(shown.len());
            // Enlarged here a little, so that the gaps stay thin when the page enlarges it further.
            let scale = (readable_scale(size) / 2).max(1);
            let palette = run.quantizer.palette();
            let colors: Vec<[u8; 3]> = (0..palette.n_vocab()).map(|token| palette.bytes(token as u16)).collect();
            blocks.push(Block::Animation {
                gif: gif::encode(&shown[..n], size, &colors, 0, n, scale),
                still: grid(&images[..n], n, scale),
                alt: "Samples being drawn".into(),
            });
            blocks.push(Block::caption(
                "The same, pixel by pixel in raster order: left to right, top to bottom. Each pixel is drawn from the model’s \
                 guess given all pixels before it.",
            ));
        }
        let seed = how.seed;
        blocks.push(Block::Command(format!(
            "igpt sample --model {} -n {n} --seed {seed} --out samples.png --gif drawing.gif",
            name(run)
        )));
        blocks
    })
}

pub(super) fn completions(runs: &[Findings]) -> Vec<Block> {
    each(runs, |run| {
        let Some(drawn) = &run.drawn else { return Vec::new() };
        let n = drawn.completions.len();
        let shown = drawn.completions[..if runs.len() == 1 { n } else { n.min(4) }].to_vec();
        let attempts = shown.first().map_or(0, |c| c.completions.len());
        let (rows, seed) = (drawn.rows, drawn.settings.seed);
        vec![
            Block::Completions(shown),
            Block::Caption(format!(
                "Images spread evenly over the test split, none picked. The model sees the upper {rows} rows and draws the rest \
                 {attempts} times."
            )),
            Block::Command(format!(
                "igpt complete --model {} --data {} --rows {rows} -n {n} --seed {seed} --out completions.png",
                name(run),
                run.data
            )),
        ]
    })
}

pub(super) fn learning(runs: &[Findings]) -> Vec<Block> {
    let mut blocks = Vec::new();
    if let [run] = runs {
        let of = |split: &str| {
            let rows = run.metrics.iter().filter(|row| row.split == split);
            rows.map(|row| (row.step as f64, row.loss)).collect::<Vec<_>>()
        };
        let level = |name: &str, value, own| Level { name: name.into(), value, own };
        let mut levels = vec![level("this model on the test split", run.likelihood.nats_per_token, true)];
        let mut caption = String::from(
            "Nats per pixel over optimiser steps: how surprised the model is by a pixel’s true colour, on average.",
        );
        if !run.is_masked() {
            levels.push(level("uniform", run.baselines.uniform, false));
            levels.push(level("unigram", run.baselines.unigram, false));
            levels.push(level("context", run.baselines.context, false));
            caption += " Dashed lines are models that only count: all colours alike (uniform), how often each colour occurs \
                        (unigram), how often it occurs beside this left and under this upper neighbour (context, smoothed).";
        }
        let chart = Chart {
            title: "Loss in nats per pixel over steps".into(),
            series: vec![
                Series::new("training batches", Look::Noisy, of("train")),
                Series::new("validation split", Look::Line, of("validation")),
            ],
            levels,
            ..Chart::default()
        };
        push_chart(&mut blocks, chart, &caption);
    } else {
        let over_minutes = |run: &Findings| {
            let points = validations(run).map(|row| (row.elapsed_s / 60.0, row.loss)).collect();
            Series::new(name(run), Look::Line, points)
        };
        let over_tokens = |run: &Findings| {
            let images = |row: &Row| row.tokens as f64 / run.config.n_px.pixels() as f64 / 1e3;
            Series::new(name(run), Look::Line, validations(run).map(|row| (images(row), row.loss)).collect())
        };
        let chart = |x: &str, series| Chart {
            title: format!("Validation loss in nats per pixel over {x}"),
            x: x.into(),
            series,
            ..Chart::default()
        };
        push_chart(
            &mut blocks,
            chart("minutes of training", runs.iter().map(over_minutes).collect()),
            "Validation loss in nats per pixel over the time that each run took, on whatever machine it ran.",
        );
        push_chart(
            &mut blocks,
            chart("thousand images seen", runs.iter().map(over_tokens).collect()),
            "The same over training images seen, which no machine changes.",
        );
    }
    let accuracy = |run: &Findings| {
        let points = validations(run).filter_map(|row| Some((row.step as f64, 100.0 * row.accuracy?))).collect();
        Series::new(name(run), Look::Dots, points)
    };
    let chart = Chart {
        title: "Validation accuracy over steps".into(),
        x: "steps".into(),
        y: "% right".into(),
        series: runs.iter().map(accuracy).collect(),
        ..Chart::default()
    };
    push_chart(&mut blocks, chart, "Accuracy of the classifier on validation images while it was trained.");
    let trained = runs.iter().filter(|run| !run.metrics.is_empty());
    blocks.extend(trained.map(|run| {
        let verb = if run.config.class_head.is_some() { "finetune" } else { "pretrain" };
        Block::Command(format!("igpt {verb} --config {0}/config.resolved.toml --out {0}-again", name(run)))
    }));
    blocks
}

/// A chart and its caption, unless there is nothing in it.
fn push_chart(blocks: &mut Vec<Block>, chart: Chart, caption: &str) {
    if !chart.html().is_empty() {
        blocks.extend([Block::Chart(chart), Block::caption(caption)]);
    }
}

pub(super) fn over_time(runs: &[Findings]) -> Vec<Block> {
    let mut blocks = each(runs, |run| {
        let named = |(step, png): &(u64, Vec<u8>)| (format!("step {}", grouped(*step as usize)), png.clone());
        match run.over_time.len() {
            0 => Vec::new(),
            _ => vec![Block::Timeline(run.over_time.iter().map(named).collect())],
        }
    });
    if !blocks.is_empty() {
        blocks.push(Block::caption("The same seed at several steps of training, so that each sheet can be compared with the next."));
    }
    blocks
}

fn figure(name: &str, value: String, meaning: &str) -> Figure {
    Figure { name: name.into(), value, meaning: meaning.into() }
}

/// The table of a single run.
pub(super) fn figures(run: &Findings) -> Vec<Block> {
    let Findings { likelihood, baselines, distortion, config, .. } = run;
    let masked = run.is_masked();
    let mut figures = vec![figure(
        if masked { "Loss" } else { "Likelihood" },
        format!("{} nats", run.with_interval()),
        if masked {
            "per masked pixel of the test images, masks of 15 %, with a 95 % interval"
        } else {
            "per pixel, every pixel scored, the first one too; mean over the test images with a 95 % interval"
        },
    )];
    if !masked {
        let bits = [likelihood.bits_per_pixel, likelihood.bits_per_dim].map(|bits| format!("{bits:.4} bits"));
        let [per_pixel, per_dim] = bits;
        figures.extend([
            figure("", per_pixel, "per pixel: nats / ln 2"),
            figure("", per_dim, "per dim, a pixel’s bits shared among its channels; comparable only at the same palette"),
            figure("", format!("{:.1} nats", likelihood.nats_per_image), "per image"),
            figure("Uniform", format!("{:.4} nats", baselines.uniform), "per pixel if all colours are alike"),
            figure("Unigram", format!("{:.4} nats", baselines.unigram), "per pixel from how often each colour occurs"),
            figure(
                "Context",
                format!("{:.4} nats", baselines.context),
                "per pixel from the left and upper neighbours, interpolated by Witten–Bell",
            ),
        ]);
    }
    if let Some(found) = &run.classifier {
        let [low, high] = found.interval.map(percent);
        let meaning = format!("of {} test images classified rightly, 95 % interval {low} to {high}", grouped(found.images));
        figures.push(figure("Classifier", percent(found.accuracy), &meaning));
    }
    figures.push(figure(
        "Palette",
        format!("{:.2} dB PSNR", distortion.psnr_db),
        "what replacing each pixel by its nearest colour costs, on the test images",
    ));
    figures.push(figure(
        "Model",
        format!("{} parameters", grouped(config.parameters())),
        &format!("{} blocks of width {}, {} heads", config.n_layer, config.n_embd, config.n_head),
    ));
    figures.extend(training(run));
    let command = format!("igpt eval --model {} --data {} --split test", name(run), run.data);
    vec![Block::Figures(figures), Block::Command(command)]
}

fn training(run: &Findings) -> Option<Figure> {
    let last = run.metrics.last()?;
    let mut meaning = format!("in {}", duration(last.elapsed_s));
    if let Some(taken) = run.taken.filter(|taken| *taken != last.step) {
        meaning += &format!("; the weights are those of step {}, where the validation was best", grouped(taken as usize));
    }
    Some(figure("Training", format!("{} steps", grouped(last.step as usize)), &meaning))
}

pub(super) fn layers(runs: &[Findings]) -> Vec<Block> {
    let probed: Vec<_> = runs.iter().filter_map(|run| Some((run, run.probe.as_ref()?))).collect();
    let mut blocks = Vec::new();
    if probed.is_empty() {
        return blocks;
    }
    let series = probed.iter().map(|(run, probe)| {
        let report = &probe.report;
        let points = report.layers.iter().zip(&report.validation_accuracy).map(|(&l, a)| (l as f64, 100.0 * a)).collect();
        Series::new(if runs.len() == 1 { "features of each layer".into() } else { name(run) }, Look::Dots, points)
    });
    let level = |name: &str, value: f64| Level { name: name.into(), value: 100.0 * value, own: false };
    let levels = match &probed[..] {
        [(_, probe)] => {
            let baselines = &probe.report.baselines;
            vec![
                level("raw pixels", baselines.raw_pixels_verdict.validation_accuracy),
                level("random weights", baselines.random_init_verdict.validation_accuracy),
            ]
        }
        _ => Vec::new(),
    };
    let chart = Chart {
        title: "Validation accuracy of a linear classifier by layer".into(),
        x: "layer".into(),
        y: "% right".into(),
        series: series.collect(),
        levels,
        ..Chart::default()
    };
    push_chart(
        &mut blocks,
        chart,
        "Accuracy on validation images of a linear classifier on each layer’s features: means over positions of the inputs of the \
         blocks, after their first norm; the last layer is the network’s output.",
    );
    let columns = ["run", "test accuracy", "95 % interval", "raw pixels", "random weights", "commonest class", "images"];
    let row = |(run, probe): &(&Findings, &super::Probed)| {
        let (report, b) = (&probe.report, &probe.report.baselines);
        let [low, high] = report.interval.map(percent);
        let [train, validation, test] = report.images.map(grouped);
        vec![
            format!("{}, layer {}", name(run), report.best_layer),
            percent(report.test_accuracy),
            format!("{low} to {high}"),
            percent(b.raw_pixels),
            percent(b.random_init),
            percent(b.majority),
            format!("{train} + {validation}, {test} tested"),
        ]
    };
    let mut rows: Vec<Vec<String>> = probed.iter().map(row).collect();
    for (run, probe) in &probed {
        if let Some(concat) = &probe.report.concat {
            let layers: Vec<String> = concat.layers.iter().map(usize::to_string).collect();
            let [low, high] = concat.verdict.interval.map(percent);
            let accuracy = percent(concat.verdict.test_accuracy);
            let mut row = vec![format!("{}, layers {}", name(run), layers.join(", ")), accuracy, format!("{low} to {high}")];
            row.resize(columns.len(), String::new());
            rows.push(row);
        }
    }
    blocks.push(Block::Table(Table { head: columns.map(String::from).into(), rows }));
    let quick = probed.iter().any(|(_, probe)| probe.quick);
    let how = if quick {
        "Ridge classifiers on few images, made for this report: quick and rough. The command below makes a thorough one, which \
         this report then shows."
    } else {
        "Layer and strength are chosen on the validation split; the test split was seen once."
    };
    blocks.push(Block::caption(how));
    blocks.extend(few_labels(&probed));
    blocks.extend(probed.iter().map(|(run, _)| {
        Block::Command(format!("igpt probe --model {0} --data {1} --out {0}/probe", name(run), run.data))
    }));
    blocks
}

/// Accuracy with few labels, where a probe tells.
fn few_labels(probed: &[(&Findings, &super::Probed)]) -> Vec<Block> {
    let share = |few: &crate::probe::FewLabels| match few.deviation {
        Some(deviation) => format!("{:.1} ± {:.1} %", 100.0 * few.mean, 100.0 * deviation),
        None => percent(few.mean),
    };
    let rows: Vec<Vec<String>> = probed
        .iter()
        .flat_map(|(run, probe)| probe.report.few_labels.iter().map(move |few| (run, few)))
        .map(|(run, few)| {
            let labels = few.features.labels_per_class.to_string();
            vec![name(run), labels, share(&few.features), share(&few.raw_pixels)]
        })
        .collect();
    if rows.is_empty() {
        return Vec::new();
    }
    let head = ["run", "labels a class", "features", "raw pixels"].map(String::from).into();
    vec![
        Block::Heading("With few labels".into()),
        Block::Table(Table { head, rows }),
        Block::caption("Test accuracy with so few labelled images of each class: mean ± standard deviation over random subsets."),
    ]
}

pub(super) fn likelihood_and_probe(runs: &[Findings]) -> Vec<Block> {
    let series = |run: &Findings| {
        let points = validations(run).filter_map(|row| Some((row.loss, 100.0 * row.probe_accuracy?))).collect();
        Series::new(name(run), Look::Dots, points)
    };
    let chart = Chart {
        title: "Probe accuracy against validation loss".into(),
        x: "validation loss, nats per pixel".into(),
        y: "% right, quick probe of the middle layers".into(),
        series: runs.iter().map(series).collect(),
        ..Chart::default()
    };
    let mut blocks = Vec::new();
    push_chart(
        &mut blocks,
        chart,
        "Each dot is a validation while training, which goes from right to left: does a better likelihood mean better features?",
    );
    blocks
}

pub(super) fn maps(runs: &[Findings]) -> Vec<Block> {
    each(runs, |run| {
        let Some(map) = &run.map else { return Vec::new() };
        let series = map.classes.iter().map(|(name, points)| Series::new(name.clone(), Look::Cloud, points.clone()));
        let chart = Chart {
            title: "Features of test images in two dimensions".into(),
            series: series.collect(),
            bare: true,
            ..Chart::default()
        };
        let [first, second] = map.explained.map(|share| format!("{:.0} %", 100.0 * share));
        let mut caption = format!(
            "Test images by the first two principal components of their features at layer {} ({first} and {second} of the \
             variance).",
            map.layer
        );
        if run.classifier.is_none() {
            caption += " The network was told no class.";
        }
        vec![Block::Chart(chart), Block::Caption(caption)]
    })
}

pub(super) fn odd(runs: &[Findings]) -> Vec<Block> {
    each(runs, |run| {
        if run.odd.is_empty() {
            return Vec::new();
        }
        let shown = if runs.len() == 1 { run.odd.len() } else { run.odd.len().min(SHARED / 2) };
        vec![
            Block::Pairs(run.odd[..shown].to_vec()),
            Block::caption(
                "The oddest test images: those that cost the model most nats beyond what the context model needs. Beside each its \
                 map: the brighter a pixel, the less it was expected.",
            ),
            Block::Command(format!("igpt score --model {} --data {} --out odd", name(run), run.data)),
        ]
    })
}

pub(super) fn palettes(runs: &[Findings]) -> Vec<Block> {
    each(runs, |run| {
        let palette = run.quantizer.palette();
        let distortion = &run.distortion;
        let caption = format!(
            "{} colours; {} of them occur in the test images, with an entropy of {:.2} bits per pixel. Replacing each pixel by its \
             nearest colour costs {:.2} dB PSNR (mean squared error {:.2}).",
            palette.n_vocab(),
            distortion.used,
            distortion.entropy_bits,
            distortion.psnr_db,
            distortion.mse
        );
        vec![Block::Swatch(Swatch { colors: readable_order(palette), caption })]
    })
}

pub(super) fn absent(runs: &[Findings]) -> Vec<Block> {
    each(runs, |run| run.absent.iter().map(Block::caption).collect())
}

pub(super) fn going_on(run: &Findings) -> Vec<Block> {
    let command = |purpose: &str, line: String| Command { purpose: purpose.into(), line };
    let (name, data, side) = (name(run), &run.data, run.config.n_px.height);
    let mut commands = Vec::new();
    if !run.is_masked() {
        commands.push(command(
            "Draw other images, a little bolder",
            format!("igpt sample --model {name} -n 64 --seed 7 --temperature 0.9 --out samples.png --gif drawing.gif"),
        ));
        commands.push(command(
            "Complete images from a quarter of their rows",
            format!("igpt complete --model {name} --data {data} --rows {} -n 12 --out completions.png", side / 4),
        ));
        commands.push(command(
            "Look for training images that it has memorised",
            format!("igpt audit --model {name} --data {data} --out audit"),
        ));
    }
    commands.push(command(
        "Train a larger model for an hour",
        format!("igpt pretrain --data {data} --preset tiny --n-px 32 --colors 128 --minutes 60 --out runs/larger"),
    ));
    commands.push(command("Compare runs", format!("igpt report {name} runs/larger --out report.html")));
    commands.push(command("Do all this with your own pictures", "igpt demo --data FOLDER --minutes 20".into()));
    vec![Block::Commands(commands)]
}
