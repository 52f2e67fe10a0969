//! Metrics of a run, `metrics.jsonl`: one JSON object per line, appended as the run goes on, cut back on resume.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Error, Result, files};

/// Columns that depend on the clock and the machine; all others are the same in equal runs.
pub(crate) const MEASURED: [&str; 6] =
    ["device", "tokens_per_s", "step_ms", "data_wait_ms", "peak_rss_mb", "elapsed_s"];

/// Row of `metrics.jsonl`: the metrics of a training step or a validation.
///
/// Train rows describe the last step before them, validation rows the weights after `step` steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MetricsRow {
    /// Optimizer steps taken.
    pub step: u64,
    /// Tokens trained on so far.
    pub tokens: u64,
    /// Passes over the training images so far.
    pub epoch: f64,
    /// Kind of the row: `train` or `validation`.
    pub split: String,
    /// Loss in nats per token.
    ///
    /// Train rows of a run that does not train on pixels have none: the key is absent in the file, and the value here
    /// is NaN.
    #[serde(default = "unscored", skip_serializing_if = "is_unscored")]
    pub loss: f64,
    /// Loss in bits per dim: `loss / (channels · ln 2)`, with one channel for a grey palette.
    #[serde(default = "unscored", skip_serializing_if = "is_unscored")]
    pub bits_per_dim: f64,
    /// Classification loss in nats per label, if a classifier is trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_loss: Option<f64>,
    /// Accuracy: the share of images whose likeliest class is right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Learning rate of the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    /// Global gradient norm before clipping.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grad_norm: Option<f64>,
    /// Estimate of the true gradient's squared norm, for a single process with several `train.gradient_groups`.
    ///
    /// See [`GradientNoise`](crate::train::GradientNoise).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gradient_signal: Option<f64>,
    /// Estimate of the variance of a single image's gradient.
    ///
    /// The gradient noise scale is the ratio of the means of this and of `gradient_signal` over many rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gradient_noise: Option<f64>,
    /// Device that computed the steps since the last train row, such as `cpu`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Tokens per second since the last train row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_s: Option<f64>,
    /// Milliseconds per step, mean since the last train row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_ms: Option<f64>,
    /// Milliseconds per step spent waiting for data, mean since the last train row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_wait_ms: Option<f64>,
    /// Peak resident memory so far in MiB, if the system reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_rss_mb: Option<f64>,
    /// Accuracy of a quick probe on validation images, if one was taken; see `train.probe_images`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_accuracy: Option<f64>,
    /// Layer of the quick probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_layer: Option<usize>,
    /// Seconds of training so far, including earlier sessions.
    pub elapsed_s: f64,
}

fn unscored() -> f64 {
    f64::NAN
}

fn is_unscored(value: &f64) -> bool {
    value.is_nan()
}

/// Open metrics file, to which rows are appended.
#[derive(Debug)]
pub struct Metrics {
    path: PathBuf,
    file: File,
}

impl Metrics {
    /// Opens `path` for appending, after removing rows past `step` and incomplete rows.
    pub fn open(path: impl Into<PathBuf>, step: u64) -> Result<Self> {
        let path = path.into();
        if path.exists() {
            // Lines are kept as text: a number that is parsed and printed again may end in another digit.
            let old = files::read(&path)?;
            let old = String::from_utf8_lossy(&old);
            let kept = |text: &&str| serde_json::from_str(text).is_ok_and(|row: MetricsRow| row.step <= step);
            let text: String = old.lines().filter(kept).flat_map(|text| [text, "\n"]).collect();
            files::write(&path, text.as_bytes())?;
        }
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(Error::io(&path))?;
        Ok(Self { path, file })
    }

    /// Appends a row with one write, so that a reader never sees half of one.
    ///
    /// If the write fails, as on a full disk, nothing of the row stays.
    pub fn write(&mut self, row: &MetricsRow) -> Result<()> {
        let end = self.file.metadata().map_err(Error::io(&self.path))?.len();
        self.file.write_all(line(row).as_bytes()).map_err(|error| {
            let _ = self.file.set_len(end);
            Error::Io { path: self.path.clone(), source: error }
        })
    }

    /// Reads all complete rows of a file; skips other lines, such as the last one of a killed run.
    pub fn read(path: &Path) -> Result<Vec<MetricsRow>> {
        let file = files::open(path)?;
        let mut rows = Vec::new();
        for text in BufReader::new(file).lines() {
            rows.extend(serde_json::from_str(&text.map_err(Error::io(path))?).ok());
        }
        Ok(rows)
    }
}

fn line(row: &MetricsRow) -> String {
    serde_json::to_string(row).expect("a row of plain values has a JSON form") + "\n"
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn row(step: u64) -> MetricsRow {
        MetricsRow {
            step,
            tokens: step * 64,
            epoch: 0.5,
            split: "train".into(),
            loss: 1.6054047201760113,
            bits_per_dim: 0.5,
            lr: Some(1e-3),
            elapsed_s: 2.0,
            ..MetricsRow::default()
        }
    }

    #[test]
    fn rows_past_the_step_and_half_rows_are_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let mut metrics = Metrics::open(&path, 0).unwrap();
        (1..=5).for_each(|step| metrics.write(&row(step)).unwrap());
        let before = fs::read_to_string(&path).unwrap();
        metrics.file.write_all(b"{\"step\": 6, \"tok").unwrap();
        let mut metrics = Metrics::open(&path, 3).unwrap();
        metrics.write(&row(4)).unwrap();
        let steps: Vec<u64> = Metrics::read(&path).unwrap().iter().map(|row| row.step).collect();
        assert_eq!(steps, [1, 2, 3, 4]);
        assert_eq!(Metrics::read(&path).unwrap()[3].tokens, row(4).tokens);
        assert_eq!(fs::read_to_string(&path).unwrap().lines().next(), before.lines().next());
    }
}
