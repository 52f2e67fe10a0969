//! One file a verb: its flags (`Args`) and `run`.

pub(crate) mod bench;
pub(crate) mod completions;
