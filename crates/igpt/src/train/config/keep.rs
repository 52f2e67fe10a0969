//! Choice of the weights that a finished run keeps.

use serde::{Deserialize, Serialize};

/// Choice of the weights that a finished run keeps: the best or the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// Weights with the lowest validation loss; for a classifier, with the highest validation accuracy.
    #[default]
    Best,
    /// Weights of the last step.
    Last,
}

impl Keep {
    /// All choices.
    pub const ALL: [Keep; 2] = [Keep::Best, Keep::Last];

    /// Returns the name of this choice in configs and flags.
    pub fn name(self) -> &'static str {
        match self {
            Keep::Best => "best",
            Keep::Last => "last",
        }
    }
}
