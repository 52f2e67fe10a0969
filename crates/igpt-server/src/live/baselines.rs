//! The models that only count, on the images that a run validates on: lines that its loss must pass.
//!
//! They are computed once, beside the training, and kept in the run directory.

use std::fs;

use igpt::data::{self, OpenOptions, Split, tokenize};
use igpt::evaluate::{BaselineScores, Baselines};
use igpt::model::Objective;
use igpt::palette::{Palette, Quantizer};
use igpt::train::{RunConfig, RunDir};
use igpt::{Result, files};
use serde::{Deserialize, Serialize};

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
    let path = run.baselines();
    if let Some(kept) = files::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok()) {
        return Ok(kept);
    }
    let found = compute(run)?;
    // A directory that can't be written to is only watched.
    let _ = fs::write(&path, serde_json::to_vec(&found).expect("plain values have a JSON form"));
    Ok(found)
}

fn compute(run: &RunDir) -> Result<Vec<Baseline>> {
    let path = run.config();
    let text = files::read_to_string(&path)?;
    let config = RunConfig::from_toml(&text, &path)?;
    let (Some(n_px), Objective::Autoregressive) = (config.model.n_px, config.train.objective) else {
        return Ok(Vec::new());
    };
    let quantizer = Quantizer::new(Palette::open(run.palette())?);
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
