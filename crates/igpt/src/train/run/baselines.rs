//! N-gram baselines of a run, stored beside it: its validation loss should be lower than theirs.

use serde::{Deserialize, Serialize};

use crate::data::{Images, TokenSet, tokenize, tokenize_tiles};
use crate::evaluate::{BaselineScores, NgramBaselines};
use crate::image::Resampling;
use crate::palette::Quantizer;
use crate::train::run::dir::RunDir;
use crate::{Result, files};

/// Largest number of training pixels that are counted: some seconds of one core.
const PIXELS: usize = 20_000_000;
/// Largest number of training images that are counted if they must be decoded first.
const IMAGES: usize = 4096;
/// Number of tiles that are counted for a model of tiles: each requires the decoding of its picture.
const TILES: usize = 2048;

/// N-gram baselines of a run on its validation images, as stored in `baselines.json`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RunBaselines {
    /// Negative log-likelihoods of the baselines, in nats per token.
    #[serde(flatten)]
    pub scores: BaselineScores,
    /// Number of training images that were counted.
    pub counted: usize,
    /// Number of training images in the data set.
    pub images: usize,
}

impl RunBaselines {
    /// Fits the baselines to the training images, or to an even choice of them, and scores `validation`.
    ///
    /// # Errors
    /// When images can't be read.
    pub fn of(train: &Images, validation: &TokenSet, quantizer: &Quantizer) -> Result<Self> {
        let most = (PIXELS / validation.n_px.pixels()).max(1);
        let most = if train.in_memory() || train.tokens().is_some() { most } else { most.min(IMAGES) };
        let counted = if train.len() > most { train.spread(most) } else { train.clone() };
        let tokens = match quantizer.palette().resampling() {
            Resampling::Crop => tokenize_tiles(&counted, validation.n_px, quantizer, most.min(TILES))?,
            _ => tokenize(&counted, validation.n_px, quantizer)?,
        };
        let counts = NgramBaselines::fit(&tokens, quantizer.palette().n_vocab());
        Ok(Self { scores: counts.score(validation), counted: counted.len(), images: train.len() })
    }

    /// Saves the baselines in the run directory.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn save(&self, run: &RunDir) -> Result<()> {
        files::write(&run.baselines(), &serde_json::to_vec(self).expect("plain values have a JSON form"))
    }
}
