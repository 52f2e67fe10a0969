//! The program `igpt` as Python's entry point runs it.

use std::ffi::OsString;

use pyo3::prelude::*;

/// Runs the program with `args`, the first of which is its name. Returns the exit code.
#[pyfunction]
pub(crate) fn main(py: Python<'_>, args: Vec<OsString>) -> i32 {
    py.detach(|| igpt_cli::run_from(args))
}
