//! Section of loss and accuracy during training.

use super::shared::{loss_name, name, push_chart, training, validations};
use crate::report::Chart;
use crate::report::chart::{ReferenceLine, Series, SeriesStyle};
use crate::report::page::Block;
use crate::report::runs::Findings;
use crate::train::MetricsRow;

pub(in super::super) fn learning(runs: &[Findings]) -> Vec<Block> {
    let mut blocks = Vec::new();
    match runs {
        [run] => loss(run, &mut blocks),
        _ => losses(runs, &mut blocks),
    }
    accuracies(runs, &mut blocks);
    blocks.extend(training(runs, |run| !run.metrics.is_empty()));
    blocks
}

/// Loss of a single run beside the n-gram baselines.
fn loss(run: &Findings, blocks: &mut Vec<Block>) {
    let Some(likelihood) = &run.likelihood else { return };
    let of = |split: &str| {
        let rows = run.metrics.iter().filter(|row| row.split == split);
        rows.map(|row| (row.step as f64, row.loss)).collect::<Vec<_>>()
    };
    let level = |name: &str, value, own| ReferenceLine { name: name.into(), value, own };
    let mut levels = vec![level("this model on the test split", likelihood.nats_per_token, true)];
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
            Series::new("training batches", SeriesStyle::Noisy, of("train")),
            Series::new("validation split", SeriesStyle::Line, of("validation")),
        ],
        levels,
        ..Chart::default()
    };
    push_chart(blocks, chart, &caption);
}

/// Validation losses of several runs.
fn losses(runs: &[Findings], blocks: &mut Vec<Block>) {
    let generating = || runs.iter().filter(|run| run.likelihood.is_some());
    let chart = |x: &str, place: &dyn Fn(&Findings, &MetricsRow) -> f64| {
        let line = |run: &Findings| validations(run).map(|row| (place(run, row), row.loss)).collect();
        Chart {
            title: format!("Validation loss in nats per pixel over {x}"),
            x: x.into(),
            series: generating().map(|run| Series::new(loss_name(run), SeriesStyle::Line, line(run))).collect(),
            ..Chart::default()
        }
    };
    push_chart(
        blocks,
        chart("minutes of training", &|_, row| row.elapsed_s / 60.0),
        "Validation loss in nats per pixel over the time that each run took, on whatever machine it ran.",
    );
    push_chart(
        blocks,
        chart("thousand images seen", &|run, row| row.tokens as f64 / run.config.n_px.pixels() as f64 / 1e3),
        "The same over training images seen, which no machine changes.",
    );
}

/// Accuracy of classifiers during training.
fn accuracies(runs: &[Findings], blocks: &mut Vec<Block>) {
    let line =
        |run: &Findings| validations(run).filter_map(|row| Some((row.step as f64, 100.0 * row.accuracy?))).collect();
    let chart = Chart {
        title: "Validation accuracy over steps".into(),
        x: "steps".into(),
        y: "% right".into(),
        series: runs.iter().map(|run| Series::new(name(run), SeriesStyle::Dots, line(run))).collect(),
        ..Chart::default()
    };
    push_chart(blocks, chart, "Accuracy of the classifier on validation images while it was trained.");
}
