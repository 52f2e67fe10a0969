//! One file a verb: its flags (`Args`) and `run`.

pub(crate) mod completions;
