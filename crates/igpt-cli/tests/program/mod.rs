//! Runs the program under test.

use std::path::Path;
use std::process::{Command, Output};

/// What `igpt` does in `folder` with arguments that contain no spaces themselves.
pub(crate) fn igpt(folder: &Path, arguments: &str) -> Output {
    with(folder, &arguments.split_whitespace().collect::<Vec<_>>())
}

/// What `igpt` does in `folder` with any arguments.
pub(crate) fn with(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_igpt")).current_dir(folder).args(arguments).output().unwrap()
}

/// The result of a run that must succeed: the last line of its output.
pub(crate) fn json(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(String::from_utf8_lossy(&output.stdout).lines().last().unwrap()).unwrap()
}
