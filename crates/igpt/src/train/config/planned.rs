//! Plans of a run with a budget in minutes, and the phases of a run that was extended.

use serde::{Deserialize, Serialize};

/// Plan of a run's length: from step `from_step` on, the run is to end after `steps` steps in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepPlan {
    /// Steps taken when the plan was made.
    pub from_step: u64,
    /// Planned steps of the whole run.
    pub steps: u64,
}

/// Phase of a run that was extended after it had ended.
///
/// The learning rate of the next phase warms up and decays anew.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunPhase {
    /// Steps of the run at the end of this phase.
    pub steps: u64,
    /// Seconds of training at the end of this phase.
    pub seconds: f64,
}

impl RunPhase {
    /// Checks that `phases` follow each other.
    pub(crate) fn check(phases: &[RunPhase]) -> Result<(), String> {
        let rising = phases.windows(2).all(|pair| pair[0].steps < pair[1].steps && pair[0].seconds <= pair[1].seconds);
        match rising && phases.iter().all(|phase| phase.steps > 0 && phase.seconds >= 0.0) {
            true => Ok(()),
            false => Err("train.phases must have rising steps and seconds".into()),
        }
    }
}

impl StepPlan {
    /// Checks that `plans` follow each other; the message names the one that does not.
    pub(crate) fn check(plans: &[StepPlan]) -> Result<(), String> {
        let ordered = plans.windows(2).all(|pair| pair[0].from_step < pair[1].from_step);
        let reachable = plans.iter().all(|plan| plan.steps >= plan.from_step.max(1));
        if ordered && reachable {
            return Ok(());
        }
        Err("train.plan must have rising from_step, none above its steps".into())
    }
}
