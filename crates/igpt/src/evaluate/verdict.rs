//! Verdict on a model in one line: its loss relative to the n-gram baselines, with advice if it is not better.

use std::fmt;

use serde::Serialize;

use super::BaselineScores;
use crate::image::ImageSize;

/// Fraction below the best baseline under which a model has hardly learned more than counting.
const HARDLY: f64 = 0.03;
/// Image side and palette size that small data sets and short runs can learn.
const SMALL: (usize, usize) = (16, 64);

/// Standing of a model's loss relative to the n-gram baselines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Standing {
    /// Not better than the uniform baseline (all colours equally likely).
    WorseThanUniform,
    /// Not better than the unigram baseline (the colours' frequencies).
    WorseThanUnigram,
    /// Not better than the context baseline (the left and the upper neighbour).
    WorseThanContext,
    /// Better than all baselines, but not by much.
    HardlyBetter,
    /// Better than all baselines.
    Better,
}

/// Facts about a model besides its loss, which decide the advice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VerdictContext {
    /// Image size of the model.
    pub n_px: ImageSize,
    /// Number of colours in its palette.
    pub n_vocab: usize,
    /// Course of its training.
    pub course: TrainingCourse,
}

/// Course of a training, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TrainingCourse {
    /// Lowest validation loss.
    pub lowest: Option<f64>,
    /// Last validation loss.
    pub last: Option<f64>,
    /// Whether the training ended before its budget, because validation losses rose.
    pub ended_early: bool,
    /// Whether the training images were augmented.
    pub augmented: bool,
}

/// Ratio of the last to the lowest validation loss above which a model overfits.
const RISEN: f64 = 1.02;

impl TrainingCourse {
    /// Whether the model overfits: its validation loss rose again, so it memorises its training images.
    fn overfits(&self) -> bool {
        self.ended_early || self.lowest.zip(self.last).is_some_and(|(lowest, last)| last > RISEN * lowest)
    }
}

/// Verdict on a model: its standing, in numbers and words, with advice.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Verdict {
    /// Standing relative to the baselines.
    pub standing: Standing,
    /// Distance of the loss below the best baseline, as a fraction of that; negative above it.
    pub below_best_baseline: f64,
    /// Name of the baseline with the lowest loss.
    pub best_baseline: &'static str,
    /// Standing in words.
    pub finding: String,
    /// Advice, if the model is not better than counting.
    pub advice: Option<String>,
}

impl Verdict {
    /// Returns the verdict on a model with a loss of `nats` per token, for the baselines' `scores`.
    pub fn new(nats: f64, scores: &BaselineScores, of: &VerdictContext) -> Self {
        let (best, lowest) = scores.best_named();
        let below = 1.0 - nats / lowest;
        let standing = match scores {
            _ if nats >= scores.uniform => Standing::WorseThanUniform,
            _ if nats >= scores.unigram => Standing::WorseThanUnigram,
            _ if nats >= lowest => Standing::WorseThanContext,
            _ if below < HARDLY => Standing::HardlyBetter,
            _ => Standing::Better,
        };
        let share = format!("{:.1} %", 100.0 * below.abs());
        let finding = match standing {
            Standing::WorseThanUniform => format!(
                "worse than guessing: {nats:.4} nats/token, and {:.4} if every colour is thought alike",
                scores.uniform
            ),
            Standing::WorseThanUnigram => format!(
                "worse than the frequencies of the colours alone: {nats:.4} nats/token against {:.4} (unigram)",
                scores.unigram
            ),
            Standing::WorseThanContext => {
                format!(
                    "worse than counting: {nats:.4} nats/token is {share} above the best baseline, {best} ({lowest:.4})"
                )
            }
            Standing::HardlyBetter => {
                format!("hardly better than counting: {nats:.4} nats/token is {share} below {best} ({lowest:.4})")
            }
            Standing::Better => {
                format!("{nats:.4} nats/token is {share} below the best baseline, {best} ({lowest:.4})")
            }
        };
        let advice = (standing != Standing::Better).then(|| of.advice());
        Self { standing, below_best_baseline: below, best_baseline: best, finding, advice }
    }
}

impl VerdictContext {
    /// Returns advice for a model that is not better than counting.
    fn advice(&self) -> String {
        let (side, colors) = SMALL;
        let mut smaller = Vec::new();
        if self.n_px.pixels() > side * side {
            smaller.push(format!("--n-px {side}"));
        }
        if self.n_vocab > colors {
            smaller.push(format!("--colors {colors}"));
        }
        let first = match (self.course.overfits(), self.course.augmented) {
            (true, true) => "it learned its images by heart (overfitting): give it more of them",
            (true, false) => {
                "it learned its images by heart (overfitting): give it more of them, or train with --augment imagenet or shift"
            }
            (false, _) => "train longer",
        };
        match smaller.is_empty() {
            true => first.into(),
            false => format!("{first}, or {}", smaller.join(" ")),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.advice {
            Some(advice) => write!(f, "{}; {advice}", self.finding),
            None => f.write_str(&self.finding),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(nats: f64, side: usize, n_vocab: usize, ended_early: bool) -> Verdict {
        let scores = BaselineScores { uniform: 2.77, unigram: 2.0, context: 1.36 };
        let course = TrainingCourse { ended_early, ..TrainingCourse::default() };
        let circumstances = VerdictContext { n_px: ImageSize::square(side), n_vocab, course };
        Verdict::new(nats, &scores, &circumstances)
    }

    #[test]
    fn every_standing_is_told_with_the_baseline_that_it_is_held_against() {
        for (nats, standing, said) in [
            (9.88, Standing::WorseThanUniform, "worse than guessing: 9.8800 nats/token, and 2.7700"),
            (2.46, Standing::WorseThanUnigram, "frequencies of the colours alone: 2.4600 nats/token against 2.0000"),
            (1.5, Standing::WorseThanContext, "is 10.3 % above the best baseline, context (1.3600)"),
            (1.35, Standing::HardlyBetter, "hardly better than counting: 1.3500 nats/token is 0.7 % below context"),
            (0.87, Standing::Better, "0.8700 nats/token is 36.0 % below the best baseline, context (1.3600)"),
        ] {
            let found = verdict(nats, 16, 64, false);
            assert_eq!(found.standing, standing);
            assert!(found.to_string().contains(said), "{found}");
        }
    }

    #[test]
    fn only_what_can_be_made_smaller_is_advised_to_be_and_a_good_model_is_left_in_peace() {
        assert!(verdict(2.46, 32, 512, false).to_string().ends_with("; train longer, or --n-px 16 --colors 64"));
        assert!(verdict(2.46, 16, 512, false).to_string().ends_with("; train longer, or --colors 64"));
        assert!(verdict(2.46, 16, 64, false).to_string().ends_with("; train longer"));
        assert!(verdict(2.46, 32, 16, true).to_string().contains("give it more of them, or train with --augment"));
        assert_eq!(verdict(0.87, 32, 512, true).advice, None);
    }

    #[test]
    fn a_model_whose_validation_loss_rose_again_is_advised_to_see_more_images_and_not_to_train_longer() {
        let advice =
            |course: TrainingCourse| VerdictContext { n_px: ImageSize::square(16), n_vocab: 16, course }.advice();
        let rose = TrainingCourse { lowest: Some(1.0), last: Some(1.1), ..TrainingCourse::default() };
        assert!(advice(rose).contains("more of them, or train with --augment"));
        assert!(advice(TrainingCourse { augmented: true, ..rose }).ends_with("give it more of them"));
        assert_eq!(advice(TrainingCourse { last: Some(1.01), ..rose }), "train longer");
    }
}
