//! How a token is drawn from logits.

use crate::setters::setters;
use crate::{Error, Result};

/// Temperature, the two filters, and the seed. The default is the paper's plain sampling: temperature 1, no filter
/// (Chen et al. 2020, section 3.3 and the official `sample.py`).
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SamplingSettings {
    /// Logits are divided by this; 0 takes the likeliest colour always.
    pub temperature: f64,
    /// Only the `top_k` likeliest colours may be drawn; 0 allows all.
    pub top_k: usize,
    /// Only the smallest set of likeliest colours whose probability reaches `top_p` may be drawn; in (0, 1], 1
    /// allows all. Applied to what `top_k` left.
    pub top_p: f64,
    /// Chooses the random numbers; image `i` of a seed is always the same image.
    pub seed: u64,
}

impl Default for SamplingSettings {
    fn default() -> Self {
        Self { temperature: 1.0, top_k: 0, top_p: 1.0, seed: 0 }
    }
}

impl SamplingSettings {
    /// Checks the ranges; the error lists every problem at once.
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

    /// Keyword and value of each, as a picture's text chunks hold them.
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
    /// The settings that matter, as written into pictures: `seed 42, temperature 0.9, top-k 40`.
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
