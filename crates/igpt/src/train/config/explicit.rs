//! Settings that were given, beside defaults and recipes.

use crate::train::config::layers::Overrides;

/// What was given beside defaults and recipes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExplicitSettings {
    /// By files, flags and `--set`.
    pub all: Overrides,
    /// By flags and `--set` alone: a file may be a whole config, most of whose values nobody chose.
    pub from_flags: Overrides,
}

impl ExplicitSettings {
    /// Whether a budget is among what was given by flags and `--set`.
    pub(in crate::train) fn names_budget(&self) -> bool {
        ["train.steps", "train.epochs", "train.minutes"].iter().any(|key| self.from_flags.get(key).is_some())
    }
}
