//! Time of a run by activity: optimizer steps, and the overhead beside them.

use std::time::Instant;

use serde::{Deserialize, Serialize};

/// Seconds of a run, by activity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TimeSpent {
    /// Seconds of optimizer steps, including waiting for batches.
    pub steps: f64,
    /// Seconds of validations.
    pub validation: f64,
    /// Seconds of quick probes.
    pub probe: f64,
    /// Seconds of samples and completions.
    pub samples: f64,
    /// Seconds of checkpoints.
    pub checkpoints: f64,
}

/// Activity of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Steps,
    Validation,
    Probe,
    Samples,
    Checkpoints,
}

impl TimeSpent {
    /// Name and seconds of each activity, in the usual order of their shares.
    pub fn parts(&self) -> [(&'static str, f64); 5] {
        [
            ("steps", self.steps),
            ("validation", self.validation),
            ("probe", self.probe),
            ("samples", self.samples),
            ("checkpoints", self.checkpoints),
        ]
    }

    /// Seconds of all activities except steps.
    pub fn beside_steps(&self) -> f64 {
        self.validation + self.probe + self.samples + self.checkpoints
    }

    /// Adds the time since `start` to `part`, and returns it.
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
