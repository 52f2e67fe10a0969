//! What is known of a picture before it is scored: how surprising each pixel is, to the model and to the reference, and
//! how surprising the model expected it to be.

use std::ops::Range;

use super::map::Map;
use super::picture::{BATCH, Named, Picture};
use crate::Result;
use crate::data::Batch;
use crate::device::{Engine, blame, expect_finite};
use crate::evaluate::Baselines;

/// Tiles whose logits are held at once.
const LOGITS: usize = 8;

/// What a score asks of the model beside the nats of each pixel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// What each pixel was expected to cost: a forward pass of its own, for the logits.
    pub expectation: bool,
}

impl Needs {
    /// What either asks for.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { expectation: self.expectation || other.expectation }
    }
}

/// What the model says of some tiles that follow each other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answers {
    /// Nats of each pixel, (tiles, T).
    nats: Vec<f32>,
    /// Mean and variance of these nats under the model's own prediction; empty unless asked for.
    expected: Vec<[f64; 2]>,
}

impl Answers {
    /// Appends what the model says of the tiles behind.
    pub fn extend(&mut self, behind: Self) {
        self.nats.extend(behind.nats);
        self.expected.extend(behind.expected);
    }

    /// What is said of some of the pixels.
    fn of(&self, pixels: Range<usize>) -> Self {
        let expected = self.expected.get(pixels.clone()).unwrap_or_default().to_vec();
        Self { nats: self.nats[pixels].to_vec(), expected }
    }

    /// All numbers, to be held against what is finite.
    pub fn values(&self) -> impl Iterator<Item = f64> {
        self.nats.iter().map(|nats| f64::from(*nats)).chain(self.expected.iter().flatten().copied())
    }
}

/// What a picture's scores are made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// Nats of each pixel under the model.
    pub surprise: Map,
    /// Nats of each pixel under the reference, a context model of good pictures.
    pub reference: Map,
    /// What each pixel was expected to cost under the model's prediction, where a score asks.
    pub expectation: Option<Expectation>,
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
    pub fn new(picture: &Picture, answers: &Answers, reference: &Baselines, name: &str) -> Result<Self> {
        let values: Vec<f64> = answers.values().collect();
        expect_finite(&values, "the surprise at a pixel", || name.into())?;
        let merge = |place: usize| {
            let values: Vec<f64> = answers.expected.iter().map(|moments| moments[place]).collect();
            picture.merge(&values)
        };
        let has_moments = answers.expected.len() == answers.nats.len();
        Ok(Self {
            surprise: picture.merge(&values[..answers.nats.len()]),
            reference: picture.merge(&reference.context_map(picture.tokens(), picture.n_px())),
            expectation: has_moments.then(|| Expectation { entropy: merge(0), variance: merge(1) }),
        })
    }
}

/// The evidence of each of some pictures. Their tiles share batches, which moves no bit of any.
///
/// # Errors
/// When they are not the model's, the engine fails, or what it says of a pixel is not finite.
pub fn evidence(
    engine: &mut dyn Engine,
    pictures: &[Named],
    reference: &Baselines,
    needs: Needs,
) -> Result<Vec<Evidence>> {
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
        found.push(Evidence::new(picture, &own, reference, name).map_err(|error| blame(engine, error))?);
    }
    Ok(found)
}

/// What the model says of some tiles.
///
/// # Errors
/// When the engine fails.
pub fn ask(engine: &mut dyn Engine, tokens: &[u16], needs: Needs) -> Result<Answers> {
    let (n_ctx, n_vocab) = (engine.config().n_ctx(), engine.config().n_vocab);
    let mut answers = Answers { nats: vec![0.0; tokens.len()], expected: Vec::new() };
    engine.pixel_nats(&Batch::new(tokens.to_vec(), n_ctx), &mut answers.nats)?;
    if needs.expectation {
        let mut logits = vec![0.0; LOGITS * n_ctx * n_vocab];
        for tiles in tokens.chunks(LOGITS * n_ctx) {
            let logits = &mut logits[..tiles.len() * n_vocab];
            engine.logits(&Batch::new(tiles.to_vec(), n_ctx), logits)?;
            answers.expected.extend(logits.chunks_exact(n_vocab).map(moments));
        }
    }
    Ok(answers)
}

/// Mean and variance of the nats of a colour that is drawn from the softmax of `logits`.
fn moments(logits: &[f32]) -> [f64; 2] {
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
    [mean, (square - mean * mean).max(0.0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_nats_under_the_prediction() {
        let [entropy, variance] = moments(&[0.0; 8]);
        assert!((entropy - 8f64.ln()).abs() < 1e-12 && variance < 1e-12);
        // Probabilities 3/4 and 1/4.
        let [entropy, variance] = moments(&[3f32.ln(), 0.0]);
        let nats = [(4.0f64 / 3.0).ln(), 4f64.ln()];
        let mean = 0.75 * nats[0] + 0.25 * nats[1];
        let expected = 0.75 * (nats[0] - mean).powi(2) + 0.25 * (nats[1] - mean).powi(2);
        assert!((entropy - mean).abs() < 1e-6 && (variance - expected).abs() < 1e-6);
        // What is certain costs nothing.
        assert_eq!(moments(&[0.0, -2000.0]), [0.0, 0.0]);
    }
}
