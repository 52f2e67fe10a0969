//! Comparison of two runs: every byte of weights, moments and position, and every metric except those of the clock and
//! the machine.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::train::checkpoint::{Checkpoints, META, STATE, with_todays_config};
use crate::train::config::WITHOUT_EFFECT;
use crate::train::trainer::metrics::MEASURED;
use crate::{Error, Result, files};

/// Comparison of two runs, file by file.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RunComparison {
    /// Comparison of each file.
    pub files: Vec<FileComparison>,
}

/// Comparison of one file of two runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FileComparison {
    /// Name of the file: its path in the run directory, or its role in the checkpoint.
    pub name: String,
    /// Bytes compared, in the larger of the two files, without entries that depend on the clock and the machine.
    pub bytes: u64,
    /// Bytes that differ.
    pub differing: u64,
}

impl RunComparison {
    /// Compares the newest checkpoints, the metrics, the samples and the models of two run directories.
    ///
    /// # Errors
    /// When one lacks a file that the other has, or a file can't be read.
    pub fn of(a: &Path, b: &Path) -> Result<Self> {
        let mut files = Vec::new();
        let (last_a, last_b) = (newest(a)?, newest(b)?);
        files.push(bytes("checkpoint: weights and moments", &last_a.join(STATE), &last_b.join(STATE))?);
        files.push(texts("checkpoint: position and config", &last_a.join(META), &last_b.join(META), &meta)?);
        let of = |name: &str| (a.join(name), b.join(name));
        let (one, other) = of("metrics.jsonl");
        files.push(texts("metrics.jsonl", &one, &other, &metrics)?);
        for name in ["preprocessor_config.json", "model/model.safetensors", "model/config.json"] {
            let (one, other) = of(name);
            files.push(bytes(name, &one, &other)?);
        }
        let names = samples(a)?;
        if names != samples(b)? {
            return Err(Error::Mismatch(format!("{} and {} have other samples", a.display(), b.display())));
        }
        for name in names {
            let (one, other) = of(&name);
            files.push(bytes(&name, &one, &other)?);
        }
        Ok(Self { files })
    }

    /// Bytes compared, over all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Bytes that differ, over all files.
    pub fn differing(&self) -> u64 {
        self.files.iter().map(|file| file.differing).sum()
    }
}

fn newest(run: &Path) -> Result<PathBuf> {
    let checkpoints = Checkpoints::open_readonly(run.join("checkpoints"))?;
    let step = checkpoints.steps()?.last().copied();
    let step = step.ok_or_else(|| Error::NotFound(format!("{} has no checkpoint", run.display())))?;
    Ok(checkpoints.path(step))
}

fn samples(run: &Path) -> Result<Vec<String>> {
    let folder = run.join("samples");
    let entries = fs::read_dir(&folder).map_err(Error::io(&folder))?;
    let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names.into_iter().map(|name| format!("samples/{name}")).collect())
}

fn bytes(name: &str, a: &Path, b: &Path) -> Result<FileComparison> {
    let [a, b] = [a, b].map(files::read);
    Ok(compared(name, &a?, &b?))
}

/// Compares like [`bytes`], after `keep` has removed entries that may differ.
fn texts(name: &str, a: &Path, b: &Path, keep: &dyn Fn(&str) -> Option<String>) -> Result<FileComparison> {
    let read = |path: &Path| {
        let text = files::read_to_string(path)?;
        keep(&text).ok_or_else(|| Error::format(path, "it can't be read"))
    };
    Ok(compared(name, read(a)?.as_bytes(), read(b)?.as_bytes()))
}

fn compared(name: &str, a: &[u8], b: &[u8]) -> FileComparison {
    let differing = a.iter().zip(b).filter(|(a, b)| a != b).count() + a.len().abs_diff(b.len());
    FileComparison { name: name.into(), bytes: a.len().max(b.len()) as u64, differing: differing as u64 }
}

/// Rows of metrics without the columns that depend on the clock and the machine.
fn metrics(text: &str) -> Option<String> {
    let row = |line: &str| {
        let mut row: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).ok()?;
        row.retain(|key, _| !MEASURED.contains(&key.as_str()));
        Some(serde_json::to_string(&row).ok()? + "\n")
    };
    text.lines().map(row).collect()
}

/// Metadata of a checkpoint in the present form, without the time and the settings that don't change a bit.
fn meta(text: &str) -> Option<String> {
    let mut table = with_todays_config(text.parse().ok()?).ok()?;
    table.remove("elapsed_s");
    table.remove("spent");
    let train = table.get_mut("config")?.as_table_mut()?.get_mut("train")?.as_table_mut()?;
    WITHOUT_EFFECT.iter().filter_map(|key| key.strip_prefix("train.")).for_each(|key| _ = train.remove(key));
    toml::to_string(&table).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_that_differs_is_counted_and_one_that_is_missing_too() {
        assert_eq!(compared("a", b"same", b"same").differing, 0);
        let found = compared("a", b"same", b"sAme and more");
        assert_eq!((found.bytes, found.differing), (13, 10));
    }

    #[test]
    fn only_what_the_clock_and_the_machine_say_is_left_out_of_metrics() {
        let row = |loss: f64, seconds: f64| {
            format!("{{\"step\":1,\"loss\":{loss},\"tokens_per_s\":{seconds},\"elapsed_s\":{seconds}}}\n")
        };
        assert_eq!(metrics(&row(2.0, 1.0)), metrics(&row(2.0, 3.0)));
        assert_ne!(metrics(&row(2.0, 1.0)), metrics(&row(2.1, 1.0)));
        assert_eq!(metrics("half a row"), None);
    }

    #[test]
    fn only_time_and_settings_without_effect_are_left_out_of_a_checkpoints_words() {
        let text = |step: u64, seconds: f64, threads: u64| {
            format!(
                "step = {step}\nelapsed_s = {seconds}\n[spent]\nsteps = {seconds}\n[config.train]\nlr = 0.1\nthreads = {threads}\n"
            )
        };
        assert_eq!(meta(&text(4, 1.0, 1)), meta(&text(4, 2.5, 2)));
        assert_ne!(meta(&text(4, 1.0, 1)), meta(&text(5, 1.0, 1)));
    }
}
