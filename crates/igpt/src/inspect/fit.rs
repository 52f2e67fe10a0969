//! The fit: what is fitted once to good pictures and kept with the model.

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

/// Fit of an inspection: all that judging pictures requires besides the model.
#[derive(Clone, Debug)]
pub struct InspectionFit {
    /// Identity of the model whose scores these are: SHA-256 of its configuration, palette and weights.
    pub model: String,
    /// Input mode: how pictures are fed to the model.
    pub view: InputMode,
    /// Score that judges pictures.
    pub score: Score,
    /// Scores of the held-out good pictures, for the conformal threshold.
    pub held_out: ConformalScores,
    /// Value of a map's brightest colour: the maps of 95 % of the held-out pictures nowhere exceed it.
    pub brightest: f64,
    /// Record of the pictures that were used, by purpose.
    pub used: FitRecord,
    /// Reference: a context model of good pictures.
    pub reference: NgramBaselines,
    /// Surprise of exact values within each palette colour, in good pictures.
    pub within: ExactValueSurprise,
    /// Statistics of the filters' largest responses in good pictures, if the score needs them.
    pub statistics: Option<FilterStatistics>,
    /// Memory bank of good pictures' features, if the score needs it.
    pub bank: Option<Arc<FeatureBank>>,
    /// Keys ([`TiledPicture::key`]) of all pictures that were fitted to or held out, sorted.
    pub pictures: Vec<u64>,
}

/// Record of the good pictures that a fit used, by purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct FitRecord {
    /// Data set, as given to `--data`.
    pub data: String,
    /// Description of the split between reference and held-out pictures.
    pub how: String,
    /// Number of pictures that the reference was fitted to.
    pub reference: usize,
    /// Number of pictures in the statistics: a third of those held out, or of the reference's if too few are held
    /// out.
    pub statistics: usize,
    /// Number of held-out pictures that chose the score.
    pub choice: usize,
    /// Number of held-out pictures in the threshold.
    pub held_out: usize,
}

impl InspectionFit {
    /// Returns the inputs that the fit's score needs, with `threads` threads; 0 uses all available cores.
    pub fn needs(&self, threads: usize) -> ScoreInputs {
        // Only a bank is compared in parallel.
        let threads = if self.bank.is_some() { Pool::thread_count(threads) } else { 1 };
        let (expectation, bank) = (self.score.needs_expectation(), self.bank.clone());
        ScoreInputs { expectation, bank, pool: Arc::new(Pool::new(threads)) }
    }

    /// Returns the score above which a picture is odd, for a rate of false alarms: [`ConformalScores::threshold`].
    ///
    /// # Errors
    /// As [`ConformalScores::threshold`]. The message says how many pictures have to be held out, including those for
    /// the score's statistics.
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

    /// Returns the reference of good pictures.
    pub fn good(&self) -> GoodReference<'_> {
        GoodReference { reference: &self.reference, within: &self.within }
    }

    /// Returns whether a picture was fitted to or held out.
    pub fn has_used(&self, picture: &TiledPicture) -> bool {
        self.pictures.binary_search(&picture.key()).is_ok()
    }
}

/// Number of pictures that leave enough for `scores` scores, if every third is for statistics.
fn with_statistics(scores: usize) -> usize {
    3 * scores.saturating_sub(1) / 2 + 1
}

/// Identity of a model, whatever its files are called: SHA-256 of its configuration, palette and weights, in hex.
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
