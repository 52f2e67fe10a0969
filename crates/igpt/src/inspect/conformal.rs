//! Conformal threshold: the limit above which a score is odd relative to those of held-out good pictures.
//!
//! If a new good picture's score is exchangeable with the n held-out ones, it exceeds their ⌈(n+1)(1−α)⌉-th smallest
//! with probability at most α, whatever the scores' distribution (split conformal prediction, Vovk et al. 2005; Lei
//! et al. 2018). The probability is also over the draw of the held-out pictures: see [`ConformalScores::threshold`].

use crate::{Error, Result};

/// Rate of false alarms where none is given.
pub const FALSE_ALARMS: f64 = 0.05;

/// Tolerance for rounding in α(n+1), where both are given in decimals.
const ROUNDING: f64 = 1e-9;

/// Scores of held-out good pictures, for conformal thresholds and p-values.
#[derive(Clone, Debug, PartialEq)]
pub struct ConformalScores {
    /// Scores in ascending order.
    scores: Vec<f64>,
}

impl ConformalScores {
    /// Returns the conformal scores of held-out pictures, whose `scores` may be in any order.
    ///
    /// # Errors
    /// When there are none, or one of them is not finite.
    pub fn new(mut scores: Vec<f64>) -> Result<Self> {
        if scores.is_empty() {
            return Err(Error::Invalid("there are no scores of held-out good pictures".into()));
        }
        if let Some(score) = scores.iter().find(|score| !score.is_finite()) {
            return Err(Error::Invalid(format!("{score} among the scores of held-out good pictures is no number")));
        }
        scores.sort_by(f64::total_cmp);
        Ok(Self { scores })
    }

    /// Returns the scores in ascending order.
    pub fn scores(&self) -> &[f64] {
        &self.scores
    }

    /// Returns the conformal threshold for the rate of false alarms α; a picture is odd if its score is above it.
    ///
    /// The threshold is the ⌈(n+1)(1−α)⌉-th smallest score. Averaged over draws of the held-out pictures, at most a
    /// share α of good pictures is above it. For one draw, the rate follows a beta distribution, so it scatters about
    /// α. More held-out pictures reduce the scatter.
    ///
    /// # Errors
    /// When α is not between 0 and 1, or so small that more pictures are needed; the message says how many.
    pub fn threshold(&self, false_alarms: f64) -> Result<f64> {
        let n = self.scores.len();
        expect_rate(false_alarms)?;
        // ⌈(n+1)(1−α)⌉ = n+1 − ⌊α(n+1)⌋
        let above = (false_alarms * (n + 1) as f64 + ROUNDING).floor() as usize;
        if above == 0 {
            return Err(Error::Invalid(format!(
                "a false-alarm rate of {false_alarms} needs at least {} held-out good pictures, but the fit has {n}: ask for a \
                 rate of {} or more, or fit again with more good pictures (igpt inspect fit)",
                needed(false_alarms),
                rounded_up(1.0 / (n + 1) as f64)
            )));
        }
        Ok(self.scores[n - above.min(n)])
    }

    /// Returns the percentage of held-out good pictures with a lower score.
    pub fn percentile(&self, score: f64) -> f64 {
        100.0 * self.scores.partition_point(|held| *held < score) as f64 / self.scores.len() as f64
    }

    /// Returns the conformal p-value of a score.
    ///
    /// It is the share with a score at least as high, among the held-out good pictures and the picture itself. It is
    /// at most α exactly if the score is above [`ConformalScores::threshold`] for α.
    pub fn p_value(&self, score: f64) -> f64 {
        let n = self.scores.len();
        let at_least = n - self.scores.partition_point(|held| *held < score);
        (at_least + 1) as f64 / (n + 1) as f64
    }
}

/// Smallest number of held-out pictures that a rate of false alarms needs.
pub(crate) fn needed(false_alarms: f64) -> usize {
    ((1.0 / false_alarms - ROUNDING).ceil() as usize).saturating_sub(1).max(1)
}

/// Refuses a rate of false alarms that is not between 0 and 1.
///
/// # Errors
/// When it is not.
pub fn expect_rate(false_alarms: f64) -> Result<()> {
    if false_alarms > 0.0 && false_alarms < 1.0 {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "a false-alarm rate of {false_alarms}: give a share of good pictures between 0 and 1, such as 0.05"
    )))
}

/// Rounds up to three decimals.
fn rounded_up(rate: f64) -> f64 {
    (rate * 1000.0).ceil() / 1000.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(scores: impl IntoIterator<Item = u32>) -> ConformalScores {
        ConformalScores::new(scores.into_iter().map(f64::from).collect()).unwrap()
    }

    #[test]
    fn the_threshold_is_the_quantile_of_its_definition() {
        // n = 19: ⌈20 · 0.95⌉ = 19, the largest.
        assert_eq!(of(1..=19).threshold(0.05).unwrap(), 19.0);
        assert_eq!(of(1..=60).threshold(0.05).unwrap(), 58.0);
        assert_eq!(of((1..=99).rev()).threshold(0.1).unwrap(), 90.0);
        assert_eq!(of(1..=99).threshold(0.07).unwrap(), 93.0);
        assert_eq!(of([3]).threshold(0.5).unwrap(), 3.0);
        assert_eq!(of(1..=9).threshold(0.999_999_999_999).unwrap(), 1.0);
    }

    #[test]
    fn a_rate_that_needs_more_pictures_is_refused_with_their_number() {
        let error = of(1..=18).threshold(0.05).unwrap_err().to_string();
        assert!(error.contains("at least 19") && error.contains("has 18") && error.contains("0.053"), "{error}");
        let error = of(1..=60).threshold(0.001).unwrap_err().to_string();
        assert!(error.contains("at least 999") && error.contains("igpt inspect fit"), "{error}");
        for rate in [0.0, 1.0, -0.05, 5.0, f64::NAN] {
            let error = of(1..=60).threshold(rate).unwrap_err().to_string();
            assert!(error.contains(&rate.to_string()) && error.contains("between 0 and 1"), "{error}");
        }
        assert!(ConformalScores::new(Vec::new()).is_err() && ConformalScores::new(vec![1.0, f64::NAN]).is_err());
    }

    #[test]
    fn percentiles_and_p_values_count_the_held_out_pictures() {
        let held = of([1, 2, 2, 4]);
        assert_eq!([0.0, 1.0, 2.0, 3.0, 4.0, 9.0].map(|s| held.percentile(s)), [0.0, 0.0, 25.0, 75.0, 75.0, 100.0]);
        assert_eq!([0.0, 2.0, 4.0, 9.0].map(|s| held.p_value(s)), [1.0, 0.8, 0.4, 0.2]);
    }

    proptest! {
        /// Each of n+1 exchangeable scores may be the new one: at most α of these choices are false alarms, ties or not.
        #[test]
        fn exchangeable_scores_exceed_the_threshold_at_most_as_often_as_asked(
            scores in prop::collection::vec(0u32..40, 2..80),
            rate in 0.01f64..0.99,
        ) {
            let n = scores.len() - 1;
            let mut alarms = 0;
            for new in 0..scores.len() {
                let others = (0..scores.len()).filter(|&i| i != new).map(|i| scores[i]);
                match of(others).threshold(rate) {
                    Ok(threshold) => alarms += usize::from(f64::from(scores[new]) > threshold),
                    Err(_) => prop_assert!(n < needed(rate), "{n} are enough for {rate}"),
                }
            }
            prop_assert!(alarms as f64 <= rate * scores.len() as f64 + 1e-6, "{alarms} of {}", scores.len());
        }

        #[test]
        fn a_score_is_above_the_threshold_exactly_where_its_p_value_is_at_most_the_rate(
            scores in prop::collection::vec(0u32..30, 1..80),
            score in 0u32..31,
            rate in 0.01f64..0.99,
        ) {
            let held = of(scores);
            if let Ok(threshold) = held.threshold(rate) {
                prop_assert_eq!(f64::from(score) > threshold, held.p_value(f64::from(score)) <= rate + 1e-12);
            }
        }

        #[test]
        fn as_many_pictures_as_are_asked_for_are_enough_and_one_less_is_not(rate in 0.001f64..0.9) {
            let n = needed(rate) as u32;
            prop_assert!(of(0..n).threshold(rate).is_ok());
            prop_assert!(n == 1 || of(0..n - 1).threshold(rate).is_err());
        }
    }
}
