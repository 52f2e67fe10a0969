//! Plans that a run of minutes has made.

use serde::{Deserialize, Serialize};

/// From step `from_step` on, the run is planned to end after `steps` steps in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Steps taken when it was made.
    pub from_step: u64,
    /// Steps of the whole run.
    pub steps: u64,
}

impl Plan {
    /// Checks that `plans` follow each other; the message says which does not.
    pub(crate) fn check(plans: &[Plan]) -> Result<(), String> {
        let ordered = plans.windows(2).all(|pair| pair[0].from_step < pair[1].from_step);
        let reachable = plans.iter().all(|plan| plan.steps >= plan.from_step.max(1));
        if ordered && reachable {
            return Ok(());
        }
        Err("train.plan must have rising from_step, none above its steps".into())
    }
}
