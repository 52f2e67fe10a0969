//! The models that only count, on the images that a run validates on: lines that its loss must pass.
//!
//! They are computed once, beside the training, and kept in the run directory.

use igpt::data::{self, OpenOptions, Split, tokenize};
use igpt::evaluate::{BaselineScores, Baselines};
use igpt::model::Objective;
use igpt::palette::Quantizer;
use igpt::train::{RunConfig, RunDir};
use igpt::{Error, Result, files};
use serde::{Deserialize, Serialize};

use super::inside;
use super::palette::palette;

/// Pixels of training images that are counted at most: some seconds of one core.
const PIXELS: usize = 20_000_000;

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Baseline {
    name: String,
    /// Nats per token.
    nats: f64,
}

/// Those of a run, from its directory or computed now; none where its loss is not comparable.
///
/// # Errors
/// When the run has not begun, or its images can't be had.
pub(super) fn baselines(run: &RunDir) -> Result<Vec<Baseline>> {
    let (root, path) = (run.root(), run.baselines());
    if let Some(kept) = inside::text(root, &path).and_then(|text| serde_json::from_str(&text).ok()) {
        return Ok(kept);
    }
    let found = compute(run)?;
    // A directory that can't be written to is only watched, and what a link leads to is not written over.
    if !path.is_symlink() {
        let _ = files::write(&path, &serde_json::to_vec(&found).expect("plain values have a JSON form"));
    }
    Ok(found)
}

fn compute(run: &RunDir) -> Result<Vec<Baseline>> {
    let path = run.config();
    let text = inside::text(run.root(), &path)
        .ok_or_else(|| Error::Missing(format!("{} is no file that can be read", path.display())))?;
    let config = RunConfig::from_toml(&text, &path)?;
    let (Some(n_px), Objective::Autoregressive) = (config.model.n_px, config.train.objective) else {
        return Ok(Vec::new());
    };
    let palette = palette(run).ok_or_else(|| Error::Missing("the run has no palette yet".into()))?;
    let quantizer = Quantizer::new(palette);
    let options = OpenOptions { data_dir: config.data.dir.clone(), ..OpenOptions::default() };
    let dataset = data::open(&config.data.spec, &options)?;
    let train = dataset.split(Split::Train)?;
    let most = (PIXELS / n_px.pixels()).max(1);
    let counted = if train.len() > most { train.spread(most) } else { train.clone() };
    let validation = dataset.split(Split::Validation)?;
    let validation = match config.train.eval_images {
        0 => validation,
        count => validation.take(count),
    };
    let n_vocab = quantizer.palette().n_vocab();
    let counts = Baselines::fit(&tokenize(&counted, n_px, &quantizer)?, n_vocab);
    let BaselineScores { uniform, unigram, context } = counts.score(&tokenize(&validation, n_px, &quantizer)?);
    let of = if counted.len() < train.len() { format!(" of {} images", counted.len()) } else { String::new() };
    let line = |name: String, nats| Baseline { name, nats };
    Ok(vec![
        line(format!("left and upper neighbour{of}"), context),
        line(format!("frequency of colours{of}"), unigram),
        line("every colour alike".into(), uniform),
    ])
}
