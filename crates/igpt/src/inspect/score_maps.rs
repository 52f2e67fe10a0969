//! Maps of a picture that its scores are computed from.
//!
//! They hold the surprise under the model and the reference, the expected surprise, and distances to a memory bank.

use std::sync::Arc;

use igpt_kernels::pool::Pool;

use super::bank::FeatureBank;
use super::exact_values::ExactValueSurprise;
use super::map::PixelMap;
use super::picture::{BATCH, NamedPicture, TiledPicture};
use crate::Result;
use crate::data::Batch;
use crate::device::{Engine, expect_finite, name_suspect_weight};
use crate::evaluate::NgramBaselines;

/// Number of tiles whose logits are held at once.
const LOGITS: usize = 8;

/// Inputs that scores need besides the nats of each pixel.
#[derive(Clone, Debug)]
pub struct ScoreInputs {
    /// Whether the expected nats of each pixel are needed, which takes the logits.
    pub expectation: bool,
    /// Memory bank to which each pixel's distance is needed, which takes another forward pass.
    pub bank: Option<Arc<FeatureBank>>,
    /// Thread pool that compares features with the bank.
    pub pool: Arc<Pool>,
}

/// Outputs of the model for some consecutive tiles.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TileOutputs {
    /// Nats of each pixel, (tiles, T).
    nats: Vec<f32>,
    /// Expectation of these nats under the model's own prediction (its entropy); empty unless requested.
    expected: Vec<f64>,
    /// Distance of each pixel's features to their nearest neighbour in a bank; empty unless requested.
    distances: Vec<f32>,
}

impl TileOutputs {
    /// Appends the outputs for the tiles in `behind`, which follow these.
    pub fn extend(&mut self, behind: Self) {
        self.nats.extend(behind.nats);
        self.expected.extend(behind.expected);
        self.distances.extend(behind.distances);
    }

    /// Removes and returns the outputs for the first pixels.
    fn take(&mut self, pixels: usize) -> Self {
        fn take<T>(values: &mut Vec<T>, count: usize) -> Vec<T> {
            let rest = values.split_off(count.min(values.len()));
            std::mem::replace(values, rest)
        }
        let Self { nats, expected, distances } = self;
        Self { nats: take(nats, pixels), expected: take(expected, pixels), distances: take(distances, pixels) }
    }

    /// Returns all values, for a check that they are finite.
    pub fn values(&self) -> impl Iterator<Item = f64> {
        let single = self.nats.iter().chain(&self.distances).map(|value| f64::from(*value));
        single.chain(self.expected.iter().copied())
    }
}

/// Reference of good pictures: what is known of them besides the model.
#[derive(Clone, Copy, Debug)]
pub struct GoodReference<'a> {
    /// Context model of good pictures.
    pub reference: &'a NgramBaselines,
    /// Surprise of exact values within each palette colour, in good pictures.
    pub within: &'a ExactValueSurprise,
}

/// Maps of a picture that its scores are computed from.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreMaps {
    /// Nats of each pixel under the model (surprise map).
    pub surprise: PixelMap,
    /// Nats of each pixel under the reference, a context model of good pictures.
    pub reference: PixelMap,
    /// Unexpected nats of each pixel's exact value within its palette colour.
    pub within: PixelMap,
    /// Expected nats of each pixel, if a score needs them: the entropy of the model's prediction.
    pub expectation: Option<PixelMap>,
    /// Distance of each pixel's features to their nearest neighbour in a memory bank of good pictures, if a score
    /// needs it.
    pub distance: Option<PixelMap>,
}

impl ScoreMaps {
    /// Returns the maps of a picture from the model's outputs for its tiles.
    ///
    /// # Errors
    /// When a value is not finite; the message names the picture by `name`.
    pub fn new(picture: &TiledPicture, answers: TileOutputs, good: GoodReference<'_>, name: &str) -> Result<Self> {
        if let Some(broken) = answers.values().find(|value| !value.is_finite()) {
            expect_finite(&[broken], "the surprise at a pixel", || name.into())?;
        }
        // Each of these takes much memory for a large picture: what is merged is dropped.
        let TileOutputs { nats, expected, distances } = answers;
        let merge = |values: Vec<f32>| picture.merge(values.iter().map(|value| f64::from(*value)));
        let pixels = nats.len();
        Ok(Self {
            surprise: merge(nats),
            expectation: (expected.len() == pixels).then(|| picture.merge(expected)),
            distance: (distances.len() == pixels).then(|| merge(distances)),
            reference: picture.merge(good.reference.context_map(picture.tokens(), picture.n_px())),
            within: picture.map(good.within.values(picture.details())),
        })
    }

    /// Returns the nats of each pixel in excess of the model's own expectation (the entropy of its prediction).
    ///
    /// # Panics
    /// When the expectation is missing.
    pub fn unexpected(&self) -> PixelMap {
        let expectation = self.expectation.as_ref().expect("a score's score_maps has what the score needs");
        self.surprise.minus(expectation)
    }
}

/// Returns the maps of each of some pictures.
///
/// Their tiles share batches, which does not change the bits of any result.
///
/// # Errors
/// When they do not fit the model, the engine fails, or a value at a pixel is not finite.
pub fn score_maps(
    engine: &mut dyn Engine,
    pictures: &[NamedPicture],
    good: GoodReference<'_>,
    needs: &ScoreInputs,
) -> Result<Vec<ScoreMaps>> {
    let n_ctx = engine.config().n_ctx();
    let tokens: Vec<u16> = pictures.iter().flat_map(|named| named.picture.tokens()).copied().collect();
    let mut answers = TileOutputs::default();
    for batch in tokens.chunks(BATCH * n_ctx) {
        answers.extend(tile_outputs(engine, batch, needs)?);
    }
    let mut found = Vec::with_capacity(pictures.len());
    for NamedPicture { name, picture, .. } in pictures {
        let own = answers.take(picture.tokens().len());
        found.push(ScoreMaps::new(picture, own, good, name).map_err(|error| name_suspect_weight(engine, error))?);
    }
    Ok(found)
}

/// Returns the model's outputs for some tiles.
///
/// # Errors
/// When the engine fails.
pub fn tile_outputs(engine: &mut dyn Engine, tokens: &[u16], needs: &ScoreInputs) -> Result<TileOutputs> {
    let (n_ctx, n_vocab) = (engine.config().n_ctx(), engine.config().n_vocab);
    let mut answers = TileOutputs::default();
    if needs.expectation {
        // One pass for both.
        let mut logits = vec![0.0; LOGITS * n_ctx * n_vocab];
        for tiles in tokens.chunks(LOGITS * n_ctx) {
            let logits = &mut logits[..tiles.len() * n_vocab];
            engine.logits(&Batch::new(tiles.to_vec(), n_ctx), logits)?;
            for (logits, token) in logits.chunks_exact(n_vocab).zip(tiles) {
                let [nats, expected] = nats_and_entropy(logits, *token);
                answers.nats.push(nats as f32);
                answers.expected.push(expected);
            }
        }
    } else {
        answers.nats = vec![0.0; tokens.len()];
        engine.pixel_nats(&Batch::new(tokens.to_vec(), n_ctx), &mut answers.nats)?;
    }
    if let Some(bank) = &needs.bank {
        answers.distances = bank.distances(engine, tokens, &needs.pool)?;
    }
    Ok(answers)
}

/// Returns the nats of `token` under the softmax of `logits`, and the softmax's entropy: the mean nats of a colour
/// drawn from it.
fn nats_and_entropy(logits: &[f32], token: u16) -> [f64; 2] {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let shifted = || logits.iter().map(|logit| f64::from(logit - max));
    let sum: f64 = shifted().map(f64::exp).sum();
    let log_sum = sum.ln();
    let mut entropy = 0.0;
    for logit in shifted() {
        let (probability, nats) = (logit.exp() / sum, log_sum - logit);
        if probability > 0.0 {
            entropy += probability * nats;
        }
    }
    [log_sum - f64::from(logits[usize::from(token)] - max), entropy]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expectation_is_that_of_the_nats_under_the_prediction() {
        let [nats, entropy] = nats_and_entropy(&[0.0; 8], 5);
        assert!((nats - entropy).abs() < 1e-12 && (entropy - 8f64.ln()).abs() < 1e-12);
        // Probabilities 3/4 and 1/4.
        let [own, entropy] = nats_and_entropy(&[3f32.ln(), 0.0], 1);
        let nats = [(4.0f64 / 3.0).ln(), 4f64.ln()];
        assert!((entropy - (0.75 * nats[0] + 0.25 * nats[1])).abs() < 1e-6);
        assert!((own - nats[1]).abs() < 1e-6);
        // What is certain costs nothing.
        assert_eq!(nats_and_entropy(&[0.0, -2000.0], 1), [2000.0, 0.0]);
    }
}
