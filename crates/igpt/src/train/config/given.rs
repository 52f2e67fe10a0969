//! Settings that were given, beside defaults and recipes.

use crate::train::config::layers::Overrides;

/// What was given beside defaults and recipes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Given {
    /// By files, flags and `--set`.
    pub all: Overrides,
    /// By flags and `--set` alone: a file may be a whole config, most of whose values nobody chose.
    pub said: Overrides,
}
