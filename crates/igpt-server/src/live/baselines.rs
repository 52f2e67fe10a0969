//! N-gram baselines on a run's validation images, drawn as lines that its loss should fall below.
//!
//! They are computed once, beside the training, and saved in the run directory. A run that has ended has already saved
//! them.

use igpt::data::{self, OpenOptions, Split, tokenize, tokenize_tiles};
use igpt::image::Resampling;
use igpt::model::Objective;
use igpt::palette::Quantizer;
use igpt::train::RunBaselines;
use igpt::train::{RunConfig, RunDir};
use igpt::{Error, Result};
use serde::Serialize;

use super::inside;
use super::palette::palette;

/// Line of one baseline in the chart.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Baseline {
    name: String,
    /// Negative log-likelihood in nats per token.
    nats: f64,
}

/// Baselines of a run, read from its directory or computed now; `None` if its loss is not comparable.
///
/// # Errors
/// When the run has not begun, or its images can't be had.
pub(super) fn baselines(run: &RunDir) -> Result<Option<RunBaselines>> {
    if let Some(kept) = kept(run) {
        return Ok(Some(kept));
    }
    let found = compute(run)?;
    // In a directory that can't be written to, they are not saved; and the target of a symbolic link is not
    // overwritten.
    if let Some(found) = found.filter(|_| !run.baselines().is_symlink()) {
        let _ = found.save(run);
    }
    Ok(found)
}

/// Baselines that are saved in the run's directory.
pub(super) fn kept(run: &RunDir) -> Option<RunBaselines> {
    inside::text(run.root(), &run.baselines()).and_then(|text| serde_json::from_str(&text).ok())
}

/// Lines of the chart, the best baseline first.
pub(super) fn lines(of: &RunBaselines) -> Vec<Baseline> {
    let images = if of.counted < of.images { format!(" of {} images", of.counted) } else { String::new() };
    let line = |name: String, nats| Baseline { name, nats };
    vec![
        line(format!("left and upper neighbour{images}"), of.scores.context),
        line(format!("frequency of colours{images}"), of.scores.unigram),
        line("every colour alike".into(), of.scores.uniform),
    ]
}

fn compute(run: &RunDir) -> Result<Option<RunBaselines>> {
    let path = run.config();
    let text = inside::text(run.root(), &path)
        .ok_or_else(|| Error::Missing(format!("{} is no file that can be read", path.display())))?;
    let config = RunConfig::from_toml(&text, &path)?;
    let (Some(n_px), Objective::Autoregressive) = (config.model.n_px, config.train.objective) else {
        return Ok(None);
    };
    let palette = palette(run).ok_or_else(|| Error::Missing("the run has no palette yet".into()))?;
    let quantizer = Quantizer::new(palette);
    let options = OpenOptions::default().data_dir(config.data.dir.clone());
    let dataset = data::open(&config.data.spec, &options)?;
    let validation = dataset.split(Split::Validation)?;
    let validation = match quantizer.palette().resampling() {
        Resampling::Crop => tokenize_tiles(&validation, n_px, &quantizer, config.train.validated_tiles())?,
        _ => tokenize(&validation.take(config.train.validated_images(validation.len())), n_px, &quantizer)?,
    };
    RunBaselines::of(&dataset.split(Split::Train)?, &validation, &quantizer).map(Some)
}
