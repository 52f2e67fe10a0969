//! Where a run's time went: optimizer steps, and what stands beside them.

use std::time::Instant;

use serde::{Deserialize, Serialize};

/// Seconds of a run by what they were spent on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TimeSpent {
    /// Optimizer steps, waiting for batches included.
    pub steps: f64,
    /// Validations.
    pub validation: f64,
    /// Quick probes of the classes.
    pub probe: f64,
    /// Samples and completions.
    pub samples: f64,
    /// Checkpoints.
    pub checkpoints: f64,
}

/// What time is spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Steps,
    Validation,
    Probe,
    Samples,
    Checkpoints,
}

impl TimeSpent {
    /// Each part by its name, the largest share of most runs first.
    pub fn parts(&self) -> [(&'static str, f64); 5] {
        [
            ("steps", self.steps),
            ("validation", self.validation),
            ("probe", self.probe),
            ("samples", self.samples),
            ("checkpoints", self.checkpoints),
        ]
    }

    /// Seconds of everything but steps.
    pub fn beside_steps(&self) -> f64 {
        self.validation + self.probe + self.samples + self.checkpoints
    }

    /// Counts the time since `start` for `part`, and gives it.
    pub(super) fn count(&mut self, part: Part, start: Instant) -> f64 {
        let seconds = start.elapsed().as_secs_f64();
        *match part {
            Part::Steps => &mut self.steps,
            Part::Validation => &mut self.validation,
            Part::Probe => &mut self.probe,
            Part::Samples => &mut self.samples,
            Part::Checkpoints => &mut self.checkpoints,
        } += seconds;
        seconds
    }
}
