//! The baselines of a run, kept beside it: what its validation loss must pass.

use serde::{Deserialize, Serialize};

use crate::data::{Images, TokenSet, tokenize, tokenize_tiles};
use crate::evaluate::{BaselineScores, NgramBaselines};
use crate::image::Resampling;
use crate::palette::Quantizer;
use crate::train::run::dir::RunDir;
use crate::{Result, files};

/// Pixels of training images that are counted at most: some seconds of one core.
const PIXELS: usize = 20_000_000;
/// Training images that are counted at most where they must be decoded for it.
const IMAGES: usize = 4096;
/// Tiles that are counted, of a model that reads these: each takes the decoding of its picture.
const TILES: usize = 2048;

/// `baselines.json` of a run: nats per token of the models that only count, on its validation images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RunBaselines {
    /// The scores.
    #[serde(flatten)]
    pub scores: BaselineScores,
    /// Training images that were counted.
    pub counted: usize,
    /// Training images that there are.
    pub images: usize,
}

impl RunBaselines {
    /// Counts the training images, or an even choice of them, and scores `validation`.
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

    /// Keeps them in the run directory.
    ///
    /// # Errors
    /// When they can't be written.
    pub fn save(&self, run: &RunDir) -> Result<()> {
        files::write(&run.baselines(), &serde_json::to_vec(self).expect("plain values have a JSON form"))
    }
}
