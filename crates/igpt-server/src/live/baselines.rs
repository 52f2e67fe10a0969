//! The models that only count, on the images that a run validates on: lines that its loss must pass.
//!
//! They are computed once, beside the training, and kept in the run directory; a run that has ended has left them itself.

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

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Baseline {
    name: String,
    /// Nats per token.
    nats: f64,
}

/// Those of a run, from its directory or computed now; none where its loss is not comparable.
///
/// # Errors
/// When the run has not begun, or its images can't be had.
pub(super) fn baselines(run: &RunDir) -> Result<Option<RunBaselines>> {
    if let Some(kept) = kept(run) {
        return Ok(Some(kept));
    }
    let found = compute(run)?;
    // A directory that can't be written to is only watched, and what a link leads to is not written over.
    if let Some(found) = found.filter(|_| !run.baselines().is_symlink()) {
        let _ = found.save(run);
    }
    Ok(found)
}

/// Those that lie in the run's directory.
pub(super) fn kept(run: &RunDir) -> Option<RunBaselines> {
    inside::text(run.root(), &run.baselines()).and_then(|text| serde_json::from_str(&text).ok())
}

/// The lines of the chart, the lowest model first.
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
