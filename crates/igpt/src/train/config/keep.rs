//! Which of its weights a finished run keeps.

use serde::{Deserialize, Serialize};

/// Which of its weights a finished run keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// Those of the lowest validation loss, or of a classifier's highest validation accuracy.
    #[default]
    Best,
    /// Those of the last step.
    Last,
}

impl Keep {
    /// Every choice.
    pub const ALL: [Keep; 2] = [Keep::Best, Keep::Last];

    /// Its name in configs and flags.
    pub fn name(self) -> &'static str {
        match self {
            Keep::Best => "best",
            Keep::Last => "last",
        }
    }
}
