//! Settings of sampling a token from logits.

use crate::setters::setters;
use crate::{Error, Result};

/// Settings of sampling: temperature, top-k, top-p and seed.
///
/// The default is the paper's plain sampling: temperature 1, no filter (Chen et al. 2020, section 3.3 and the
/// official `sample.py`).
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SamplingSettings {
    /// Temperature, which divides the logits; 0 always takes the likeliest colour.
    pub temperature: f64,
    /// Number of likeliest colours that may be drawn (top-k); 0 allows all.
    pub top_k: usize,
    /// Probability that the drawable colours must reach (top-p, nucleus sampling), in (0, 1]; 1 allows all.
    ///
    /// Only the smallest set of likeliest colours that reaches it may be drawn. The filter applies to what `top_k`
    /// left.
    pub top_p: f64,
    /// Seed of the random numbers; image `i` of a seed is always the same image.
    pub seed: u64,
}

impl Default for SamplingSettings {
    fn default() -> Self {
        Self { temperature: 1.0, top_k: 0, top_p: 1.0, seed: 0 }
    }
}

impl SamplingSettings {
    /// Checks the settings' ranges.
    ///
    /// # Errors
    /// When a setting is out of range; the message lists every problem at once.
    pub fn validate(&self) -> Result<()> {
        let mut problems = Vec::new();
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            problems.push(format!("temperature is {}, but must be 0 (greedy) or positive", self.temperature));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            problems.push(format!("top_p is {}, but must be above 0 and at most 1 (1 turns it off)", self.top_p));
        }
        if problems.is_empty() { Ok(()) } else { Err(Error::Invalid(problems.join("; "))) }
    }

    /// Returns the keyword and value of each setting, as in a picture's text chunks.
    pub fn lines(&self) -> [(&'static str, String); 4] {
        [
            ("Seed", self.seed.to_string()),
            ("Temperature", self.temperature.to_string()),
            ("Top-k", self.top_k.to_string()),
            ("Top-p", self.top_p.to_string()),
        ]
    }
}

setters!(SamplingSettings { temperature: f64, top_k: usize, top_p: f64, seed: u64 });

impl std::fmt::Display for SamplingSettings {
    /// Writes the settings that matter, as in pictures: `seed 42, temperature 0.9, top-k 40`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seed {}, temperature {}", self.seed, self.temperature)?;
        if self.top_k > 0 {
            write!(f, ", top-k {}", self.top_k)?;
        }
        if self.top_p < 1.0 {
            write!(f, ", top-p {}", self.top_p)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validate_reports_every_problem_at_once() {
        let bad = SamplingSettings { temperature: f64::NAN, top_p: 0.0, ..SamplingSettings::default() };
        let message = bad.validate().unwrap_err().to_string();
        assert!(message.contains("temperature is NaN") && message.contains("top_p is 0"), "{message}");
        for temperature in [-0.1, f64::INFINITY] {
            assert!(SamplingSettings { temperature, ..SamplingSettings::default() }.validate().is_err());
        }
        assert!(SamplingSettings { top_p: 1.01, ..SamplingSettings::default() }.validate().is_err());
        assert!(SamplingSettings { temperature: 0.0, top_k: 7, top_p: 0.5, seed: 1 }.validate().is_ok());
    }
}
