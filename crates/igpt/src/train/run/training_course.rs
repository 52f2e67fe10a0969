//! Course of a run's training, read from its directory.

use std::fs;
use std::path::Path;

use crate::evaluate::TrainingCourse;
use crate::train::config::RunConfig;
use crate::train::run::dir::RunDir;
use crate::train::trainer::metrics::Metrics;

/// Reads the course of the training in the run directory `run`.
///
/// Fields are empty for a model directory, and for files that can't be read.
pub fn training_course(run: &Path) -> TrainingCourse {
    let run = RunDir::detached(run);
    let rows = if run.metrics().is_file() { Metrics::read(&run.metrics()).unwrap_or_default() } else { Vec::new() };
    let losses = || rows.iter().filter(|row| row.split == "validation" && row.loss.is_finite()).map(|row| row.loss);
    let config = fs::read_to_string(run.config()).ok();
    let config = config.and_then(|text| RunConfig::from_toml(&text, &run.config()).ok());
    let summary = fs::read(run.summary()).ok();
    let summary = summary.and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok());
    TrainingCourse {
        lowest: losses().min_by(f64::total_cmp),
        last: losses().next_back(),
        ended_early: summary.is_some_and(|summary| summary["ended_early"] == true),
        augmented: config.is_some_and(|config| config.data.augments()),
    }
}
