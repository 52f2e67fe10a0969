//! What is known of a picture before it is scored: how surprising each pixel is, to the model and to the reference, and
//! how surprising the model expected it to be.

use std::ops::Range;

use super::bank::Bank;
use super::map::Map;
use super::picture::{BATCH, Named, Picture};
use super::within::Within;
use crate::Result;
use crate::data::Batch;
use crate::device::{Engine, blame, expect_finite};
use crate::evaluate::Baselines;

/// Tiles whose logits are held at once.
const LOGITS: usize = 8;

/// What scores ask beside the nats of each pixel.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// What each pixel was expected to cost, for which the logits are looked at.
    pub expectation: bool,
    /// How far each pixel's features are from those of a bank: another forward pass.
    pub bank: Option<Bank>,
}

/// What the model says of some tiles that follow each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answers {
    /// Nats of each pixel, (tiles, T).
    nats: Vec<f32>,
    /// Mean and variance of these nats under the model's own prediction; empty unless asked for.
    expected: Vec<[f64; 2]>,
    /// How far each pixel's features are from those of a bank; empty unless asked for.
    distances: Vec<f32>,
}

impl Answers {
    /// Appends what the model says of the tiles behind.
    pub fn extend(&mut self, behind: Self) {
        self.nats.extend(behind.nats);
        self.expected.extend(behind.expected);
        self.distances.extend(behind.distances);
    }

    /// What is said of some of the pixels.
    fn of(&self, pixels: Range<usize>) -> Self {
        let expected = self.expected.get(pixels.clone()).unwrap_or_default().to_vec();
        let distances = self.distances.get(pixels.clone()).unwrap_or_default().to_vec();
        Self { nats: self.nats[pixels].to_vec(), expected, distances }
    }

    /// All numbers, to be held against what is finite.
    pub fn values(&self) -> impl Iterator<Item = f64> {
        let single = self.nats.iter().chain(&self.distances).map(|value| f64::from(*value));
        single.chain(self.expected.iter().flatten().copied())
    }
}

/// What is known of good pictures beside the model.
#[derive(Clone, Copy, Debug)]
pub struct Good<'a> {
    /// The context model.
    pub reference: &'a Baselines,
    /// Their exact values.
    pub within: &'a Within,
}

/// What a picture's scores are made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// Nats of each pixel under the model.
    pub surprise: Map,
    /// Nats of each pixel under the reference, a context model of good pictures.
    pub reference: Map,
    /// Unexpected nats of each pixel's exact value within its colour.
    pub within: Map,
    /// What each pixel was expected to cost under the model's prediction, where a score asks.
    pub expectation: Option<Expectation>,
    /// How far each pixel's features are from those of good pictures, where a score asks.
    pub distance: Option<Map>,
}

/// What pixels were expected to cost: the surprise's mean and variance under the model's own prediction.
#[derive(Clone, Debug, PartialEq)]
pub struct Expectation {
    /// The predictions' entropy in nats.
    pub entropy: Map,
    /// The variance of the nats, in squared nats (varentropy).
    pub variance: Map,
}

impl Evidence {
    /// Of a picture of whose tiles the model says this.
    ///
    /// # Errors
    /// When a number is not finite; `name` says of which picture.
    pub fn new(picture: &Picture, answers: &Answers, good: Good<'_>, name: &str) -> Result<Self> {
        let values: Vec<f64> = answers.values().collect();
        expect_finite(&values, "the surprise at a pixel", || name.into())?;
        let single = |values: &[f32]| picture.merge(&values.iter().map(|value| f64::from(*value)).collect::<Vec<_>>());
        let merge = |place: usize| {
            let values: Vec<f64> = answers.expected.iter().map(|moments| moments[place]).collect();
            picture.merge(&values)
        };
        let is_whole = |len: usize| len == answers.nats.len();
        Ok(Self {
            surprise: single(&answers.nats),
            reference: picture.merge(&good.reference.context_map(picture.tokens(), picture.n_px())),
            within: picture.map(good.within.values(picture.details())),
            expectation: is_whole(answers.expected.len())
                .then(|| Expectation { entropy: merge(0), variance: merge(1) }),
            distance: is_whole(answers.distances.len()).then(|| single(&answers.distances)),
        })
    }

    /// Nats of each pixel beyond the model's own expectation of them, the entropy of its prediction. Panics where that was
    /// not asked for.
    pub fn unexpected(&self) -> Map {
        let expectation = self.expectation.as_ref().expect("a score's evidence has what the score needs");
        self.surprise.minus(&expectation.entropy)
    }
}

/// The evidence of each of some pictures. Their tiles share batches, which moves no bit of any.
///
/// # Errors
/// When they are not the model's, the engine fails, or what it says of a pixel is not finite.
pub fn evidence(engine: &mut dyn Engine, pictures: &[Named], good: Good<'_>, needs: &Needs) -> Result<Vec<Evidence>> {
    let n_ctx = engine.config().n_ctx();
    let tokens: Vec<u16> = pictures.iter().flat_map(|named| named.picture.tokens()).copied().collect();
    let mut answers = Answers::default();
    for batch in tokens.chunks(BATCH * n_ctx) {
        answers.extend(ask(engine, batch, needs)?);
    }
    let mut found = Vec::with_capacity(pictures.len());
    let mut start = 0;
    for Named { name, picture, .. } in pictures {
        let own = answers.of(start..start + picture.tokens().len());
        start += picture.tokens().len();
        found.push(Evidence::new(picture, &own, good, name).map_err(|error| blame(engine, error))?);
    }
    Ok(found)
}

/// What the model says of some tiles.
///
/// # Errors
/// When the engine fails.
pub fn ask(engine: &mut dyn Engine, tokens: &[u16], needs: &Needs) -> Result<Answers> {
    let (n_ctx, n_vocab) = (engine.config().n_ctx(), engine.config().n_vocab);
    let mut answers = Answers::default();
    if needs.expectation {
        // One pass for both.
        let mut logits = vec![0.0; LOGITS * n_ctx * n_vocab];
        for tiles in tokens.chunks(LOGITS * n_ctx) {
            let logits = &mut logits[..tiles.len() * n_vocab];
            engine.logits(&Batch::new(tiles.to_vec(), n_ctx), logits)?;
            for (logits, token) in logits.chunks_exact(n_vocab).zip(tiles) {
                let [nats, mean, variance] = moments(logits, *token);
                answers.nats.push(nats as f32);
                answers.expected.push([mean, variance]);
            }
        }
    } else {
        answers.nats = vec![0.0; tokens.len()];
        engine.pixel_nats(&Batch::new(tokens.to_vec(), n_ctx), &mut answers.nats)?;
    }
    if let Some(bank) = &needs.bank {
        answers.distances = bank.distances(engine, tokens)?;
    }
    Ok(answers)
}

/// Nats of `token` under the softmax of `logits`, and mean and variance of those of a colour that is drawn from it.
fn moments(logits: &[f32], token: u16) -> [f64; 3] {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let shifted = || logits.iter().map(|logit| f64::from(logit - max));
    let sum: f64 = shifted().map(f64::exp).sum();
    let log_sum = sum.ln();
    let mut mean = 0.0;
    let mut square = 0.0;
    for logit in shifted() {
        let (probability, nats) = (logit.exp() / sum, log_sum - logit);
        if probability > 0.0 {
            mean += probability * nats;
            square += probability * nats * nats;
        }
    }
    [log_sum - f64::from(logits[usize::from(token)] - max), mean, (square - mean * mean).max(0.0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_nats_under_the_prediction() {
        let [nats, entropy, variance] = moments(&[0.0; 8], 5);
        assert!((nats - entropy).abs() < 1e-12 && (entropy - 8f64.ln()).abs() < 1e-12 && variance < 1e-12);
        // Probabilities 3/4 and 1/4.
        let [own, entropy, variance] = moments(&[3f32.ln(), 0.0], 1);
        let nats = [(4.0f64 / 3.0).ln(), 4f64.ln()];
        let mean = 0.75 * nats[0] + 0.25 * nats[1];
        let expected = 0.75 * (nats[0] - mean).powi(2) + 0.25 * (nats[1] - mean).powi(2);
        assert!((entropy - mean).abs() < 1e-6 && (variance - expected).abs() < 1e-6);
        assert!((own - nats[1]).abs() < 1e-6);
        // What is certain costs nothing.
        assert_eq!(moments(&[0.0, -2000.0], 1), [2000.0, 0.0, 0.0]);
    }
}
