//! Sections about the features of a run's layers.

use super::shared::{each, loss_name, name, place, push_chart, source, training, validations};
use crate::probe::{FewLabelAccuracy, ProbeBaselines, TestResult};
use crate::report::Chart;
use crate::report::chart::{ReferenceLine, Series, SeriesStyle};
use crate::report::page::{Block, ConfusionMatrix, Table};
use crate::report::runs::words::{grouped, percent};
use crate::report::runs::{Findings, LayerProbes};

/// A run and the probe of its layers.
type Row<'a> = (&'a Findings, &'a LayerProbes);

/// Number of reference lines beyond which a baseline is left out of the chart: they would hide the curves.
const LEVELS: usize = 3;
/// Largest difference, in percent, between runs' baselines that share a reference line.
const ALIKE: f64 = 0.5;
/// Number of classes beyond which no confusion matrix is shown.
const CLASSES: usize = 16;

/// Section of accuracy by layer. `made` is the command that makes the page, and with it quick probes.
pub(in super::super) fn layers(runs: &[Findings], made: &str) -> Vec<Block> {
    let probed: Vec<Row<'_>> = runs.iter().filter_map(|run| Some((run, run.probe.as_ref()?))).collect();
    let mut blocks = Vec::new();
    if probed.is_empty() {
        return blocks;
    }
    let chart = layer_chart(&probed);
    let mut caption = String::from(
        "Accuracy on validation images, with 95 % intervals, of a classifier on each layer’s features: means over \
         positions of the inputs of the blocks, after their first norm; the last layer is the network’s output.",
    );
    if !chart.levels.is_empty() {
        caption += " Dashed lines are the same classifier on raw pixels, and on the best layer of the network with \
                    random weights.";
    }
    push_chart(&mut blocks, chart, &caption);
    blocks.push(Block::Table(tested(&probed)));
    blocks.push(Block::caption(
        "Fitted to train and validation together, so many images of each. Layer and strength were chosen on \
         validation; test was seen once.",
    ));
    if runs.len() == 1 {
        probed.iter().for_each(|(_, probe)| blocks.extend(confusion(probe)));
    }
    blocks.extend(few_labels(&probed));
    if probed.iter().any(|(_, probe)| probe.quick) {
        blocks.push(Block::caption("Quick ones are classifiers on few images, made with this page:"));
        blocks.push(Block::Command(made.into()));
        blocks.push(Block::caption("Thorough ones, which this page then shows, are made so:"));
    }
    blocks.extend(probed.iter().map(|(run, probe)| {
        let out = place(run, "/probe");
        Block::Command(match &probe.command {
            Some(command) => command.clone(),
            None => format!("igpt probe {} --out {out}", source(run)),
        })
    }));
    blocks
}

/// Accuracy by layer beside the baselines.
fn layer_chart(probed: &[Row<'_>]) -> Chart {
    let points = |probe: &LayerProbes| {
        let both = probe.report.layers.iter().zip(&probe.report.validation_accuracy);
        both.map(|(&layer, accuracy)| (layer as f64, 100.0 * accuracy)).collect()
    };
    let series = |(run, probe): &Row<'_>| {
        let intervals = probe.report.validation_intervals();
        let intervals = intervals.into_iter().map(|interval| interval.map(|share| 100.0 * share)).collect();
        let name = format!("{} ({})", name(run), probe.how());
        Series::new(name, SeriesStyle::Dots, points(probe)).with_intervals(intervals)
    };
    let mut levels = baseline(probed, "raw pixels", |baselines| &baselines.raw_pixels_verdict);
    levels.extend(baseline(probed, "random weights", |baselines| &baselines.random_init_verdict));
    Chart {
        title: "Validation accuracy of a classifier by layer".into(),
        x: "layer".into(),
        y: "% right".into(),
        series: probed.iter().map(series).collect(),
        levels,
        ..Chart::default()
    }
}

/// Reference lines of one baseline of all runs; similar ones share a line at the highest of their values.
fn baseline(probed: &[Row<'_>], kind: &str, of: fn(&ProbeBaselines) -> &TestResult) -> Vec<ReferenceLine> {
    let value = |probe: &LayerProbes| 100.0 * of(&probe.report.baselines).validation_accuracy;
    let mut values: Vec<(f64, String)> = probed.iter().map(|(run, probe)| (value(probe), name(run))).collect();
    values.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut levels, mut rest) = (Vec::new(), &values[..]);
    while let Some(&(value, _)) = rest.first() {
        let (alike, others) = rest.split_at(rest.partition_point(|(other, _)| value - other <= ALIKE));
        let names: Vec<&str> = alike.iter().map(|(_, name)| name.as_str()).collect();
        let whose = if alike.len() == probed.len() { String::new() } else { format!(" ({})", names.join(", ")) };
        levels.push(ReferenceLine { name: format!("{kind}{whose}"), value, own: false });
        rest = others;
    }
    if levels.len() > LEVELS { Vec::new() } else { levels }
}

/// Confusion matrix of a saved probe.
fn confusion(probe: &LayerProbes) -> Vec<Block> {
    let report = &probe.report;
    if probe.quick || report.classes.len() > CLASSES {
        return Vec::new();
    }
    let matrix = ConfusionMatrix { names: report.classes.clone(), counts: report.confusion.clone() };
    let layer = report.best_layer;
    let caption = format!(
        "Of the test images of each class (rows), the shares in per cent that the classifier on layer {layer} takes \
         for each class (columns)."
    );
    vec![Block::Matrix(matrix), Block::Caption(caption)]
}

/// Accuracy on the test images: of the best layer, of several layers together, and of the baselines.
fn tested(probed: &[Row<'_>]) -> Table {
    let head =
        ["", "test accuracy", "95 % interval", "raw pixels", "random weights", "commonest class", "fitted", "tested"];
    let row = |(run, probe): &Row<'_>| {
        let (report, b) = (&probe.report, &probe.report.baselines);
        let [low, high] = report.interval.map(percent);
        let [train, validation, test] = report.images;
        vec![
            format!("{}, layer {}{}", name(run), report.best_layer, if probe.quick { " (quick)" } else { "" }),
            percent(report.test_accuracy),
            format!("{low} to {high}"),
            percent(b.raw_pixels),
            percent(b.random_init),
            percent(b.majority),
            format!("{} + {}", grouped(train), grouped(validation)),
            grouped(test),
        ]
    };
    let concat = |(run, probe): &Row<'_>| {
        let concat = probe.report.concat.as_ref()?;
        let layers: Vec<String> = concat.layers.iter().map(usize::to_string).collect();
        let [low, high] = concat.verdict.interval.map(percent);
        let name = format!("{}, layers {} together", name(run), layers.join(", "));
        let mut row = vec![name, percent(concat.verdict.test_accuracy), format!("{low} to {high}")];
        row.resize(head.len(), String::new());
        Some(row)
    };
    let rows = probed.iter().map(row).chain(probed.iter().filter_map(concat)).collect();
    Table { head: head.map(String::from).into(), rows }
}

/// Accuracy with few labels, for probes that have it.
fn few_labels(probed: &[Row<'_>]) -> Vec<Block> {
    let share = |few: &FewLabelAccuracy| match few.deviation {
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
        Block::caption(
            "Test accuracy with so few labelled images of each class: mean ± standard deviation over random subsets.",
        ),
    ]
}

pub(in super::super) fn likelihood_and_probe(runs: &[Findings]) -> Vec<Block> {
    let series = |run: &Findings| {
        let points = validations(run).filter_map(|row| Some((row.loss, 100.0 * row.probe_accuracy?))).collect();
        Series::new(loss_name(run), SeriesStyle::Dots, points)
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
    if !blocks.is_empty() {
        blocks.extend(training(runs, |run| validations(run).any(|row| row.probe_accuracy.is_some())));
    }
    blocks
}

/// Section of feature maps. `made` is the command that makes the page, and with it the maps.
pub(in super::super) fn maps(runs: &[Findings], made: &str) -> Vec<Block> {
    let mut blocks = each(runs, |run| {
        let Some(map) = &run.map else { return Vec::new() };
        let series =
            map.classes.iter().map(|(name, points)| Series::new(name.clone(), SeriesStyle::Cloud, points.clone()));
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
    });
    if !blocks.is_empty() {
        blocks.push(Block::Command(made.into()));
    }
    blocks
}
