//! Comparison of several runs in one table.

use super::findings::Findings;
use super::words::{grouped, percent};
use crate::report::page::{Block, Table};

/// Title, lead and headline of several runs.
pub(super) fn heading(runs: &[Findings]) -> (String, String, Vec<(String, String)>) {
    let mut data: Vec<&str> = runs.iter().map(|run| run.data.as_str()).collect();
    data.sort_unstable();
    data.dedup();
    let title = format!("{} runs side by side", runs.len());
    let lead = format!(
        "On {}: how each learned, what it draws, and what its layers know. Nats per pixel are comparable only between runs of \
         the same palette and objective.",
        data.join(", ")
    );
    (title, lead, Vec::new())
}

/// Table with one row per run. `made` is the command that makes the page, and so the table.
pub(super) fn glance(runs: &[Findings], made: &str) -> Vec<Block> {
    let columns = [
        "run",
        "test images",
        "parameters",
        "size",
        "colours",
        "steps",
        "minutes",
        "nats per pixel",
        "best baseline",
        "PSNR",
    ];
    let mut head: Vec<String> = columns.map(String::from).into();
    let probed = runs.iter().any(|run| run.probe.is_some());
    let classified = runs.iter().any(|run| run.classifier.is_some());
    head.extend(probed.then(|| "linear probe".into()));
    head.extend(classified.then(|| "classifier".into()));
    let row = |run: &Findings| {
        let last = run.metrics.last();
        let masked = if run.is_masked() { " (masked)" } else { "" };
        let mut row = vec![
            run.name.clone(),
            grouped(run.looked_at),
            grouped(run.config.parameters()),
            run.config.n_px.to_string(),
            run.config.n_vocab.to_string(),
            last.map_or(String::new(), |row| grouped(row.step as usize)),
            last.map_or(String::new(), |row| format!("{:.1}", row.elapsed_s / 60.0)),
            run.with_interval().map_or("classes alone".into(), |nats| nats + masked),
            format!("{:.4}", run.best_baseline().1),
            run.psnr_db().map_or(String::new(), |psnr_db| format!("{psnr_db:.1} dB")),
        ];
        let probe = |run: &Findings| {
            let probed = run.probe.as_ref()?;
            let (accuracy, layer) = (percent(probed.report.test_accuracy), probed.report.best_layer);
            Some(format!("{accuracy} (layer {layer}; {})", probed.how()))
        };
        row.extend(probed.then(|| probe(run).unwrap_or_default()));
        let classifier = run.classifier.map_or(String::new(), |found| {
            format!("{} ({})", percent(found.accuracy), percent(found.calibration_error))
        });
        row.extend(classified.then_some(classifier));
        row
    };
    vec![
        Block::Table(Table { head, rows: runs.iter().map(row).collect() }),
        Block::caption(
            "On the test split, with the half of a 95 % interval over its images. Linear probe: test accuracy of the layer that \
             does best on validation. Classifier: test accuracy, and its expected calibration error in brackets.",
        ),
        Block::Command(made.into()),
    ]
}
