//! What is fitted once on good pictures and kept with the model.

use std::sync::Arc;

use igpt_kernels::pool::Pool;
use serde::{Deserialize, Serialize};

use super::bank::FeatureBank;
use super::conformal::{ConformalScores, expect_rate, needed};
use super::exact_values::ExactValueSurprise;
use super::picture::{InputMode, TiledPicture};
use super::score::Score;
use super::score_maps::{GoodReference, ScoreInputs};
use super::typical::FilterStatistics;
use crate::checksum::sha256_of;
use crate::evaluate::NgramBaselines;
use crate::model::ModelDir;
use crate::{Error, Result};

/// All that it takes to judge pictures.
#[derive(Clone, Debug)]
pub struct InspectionFit {
    /// Identity of the model whose scores these are: SHA-256 of its shape, palette and weights.
    pub model: String,
    /// How pictures are brought to the model.
    pub view: InputMode,
    /// The rule.
    pub score: Score,
    /// Scores of the held-out good pictures.
    pub held_out: ConformalScores,
    /// What a map's brightest colour stands for: what the maps of 95 % of the held-out pictures nowhere exceed.
    pub brightest: f64,
    /// Which pictures were used for what.
    pub used: FitRecord,
    /// The reference, a context model of good pictures.
    pub reference: NgramBaselines,
    /// Exact values of good pictures within each colour.
    pub within: ExactValueSurprise,
    /// What good pictures are like at their extremes, where the score asks.
    pub statistics: Option<FilterStatistics>,
    /// Features of good pictures, where the score asks.
    pub bank: Option<Arc<FeatureBank>>,
    /// [`TiledPicture::key`] of all pictures that it was fitted to or that are held out, sorted.
    pub pictures: Vec<u64>,
}

/// Which good pictures were used for what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct FitRecord {
    /// What `--data` said.
    pub data: String,
    /// How they were divided, in words.
    pub how: String,
    /// Pictures that the reference was fitted to.
    pub reference: usize,
    /// Pictures that the statistics are of: a third of those held out, or of the reference's where too few are.
    pub statistics: usize,
    /// Held-out pictures by which the score was chosen.
    pub choice: usize,
    /// Held-out pictures that the threshold is made of.
    pub held_out: usize,
}

impl InspectionFit {
    /// What its score asks of the model, and of `threads` threads; 0 is one for each available core.
    pub fn needs(&self, threads: usize) -> ScoreInputs {
        // What only a bank is compared by need not wait for work without one.
        let threads = if self.bank.is_some() { Pool::team(threads) } else { 1 };
        let (expectation, bank) = (self.score.needs_expectation(), self.bank.clone());
        ScoreInputs { expectation, bank, pool: Arc::new(Pool::new(threads)) }
    }

    /// The score above which a picture is odd, at this rate of false alarms: [`ConformalScores::threshold`].
    ///
    /// # Errors
    /// As there. The message says how many pictures have to be held out, those for the score's statistics among them.
    pub fn threshold(&self, false_alarms: f64) -> Result<f64> {
        expect_rate(false_alarms)?;
        self.held_out.threshold(false_alarms).map_err(|error| match error {
            Error::Invalid(message) if self.score.needs_statistics() => Error::Invalid(format!(
                "{message}; a third of the held-out pictures is for the statistics of {}, not for the threshold: hold out {} \
                 or more",
                self.score,
                with_statistics(needed(false_alarms))
            )),
            other => other,
        })
    }

    /// What it knows of good pictures.
    pub fn good(&self) -> GoodReference<'_> {
        GoodReference { reference: &self.reference, within: &self.within }
    }

    /// Whether a picture was fitted to or held out.
    pub fn has_used(&self, picture: &TiledPicture) -> bool {
        self.pictures.binary_search(&picture.key()).is_ok()
    }
}

/// How many pictures are enough for `scores` of them, where every third is for statistics.
fn with_statistics(scores: usize) -> usize {
    3 * scores.saturating_sub(1) / 2 + 1
}

/// What a model is known by again, whatever its files are called: SHA-256 of its shape, palette and weights, in hex.
pub(super) fn identity(model: &ModelDir) -> String {
    let shape = format!("{:?} {}", model.config, model.palette.hash());
    let hash = sha256_of(&[shape.as_bytes(), bytemuck::cast_slice(&model.weights)]);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_of_the_held_out_pictures_is_counted_in_what_a_rate_needs() {
        assert_eq!(with_statistics(99), 148);
        for scores in 1..300 {
            // As the fit divides them: every third is for statistics.
            let left = |held: usize| held - held / 3;
            let held = with_statistics(scores);
            assert!(left(held) >= scores && left(held - 1) < scores, "{scores}");
        }
    }
}
