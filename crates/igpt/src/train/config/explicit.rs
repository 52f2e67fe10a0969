//! Settings that the user gave explicitly, as opposed to defaults and recipes.

use crate::train::config::layers::Overrides;

/// Settings that the user gave explicitly, as opposed to defaults and recipes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExplicitSettings {
    /// Settings from files, flags and `--set`.
    pub all: Overrides,
    /// Settings from flags and `--set` alone.
    ///
    /// A file is left out, since it may be a whole config, most of whose values nobody chose.
    pub from_flags: Overrides,
}

impl ExplicitSettings {
    /// Whether flags or `--set` give a budget.
    pub(in crate::train) fn names_budget(&self) -> bool {
        ["train.steps", "train.epochs", "train.minutes"].iter().any(|key| self.from_flags.get(key).is_some())
    }
}
