//! Running the library from Python: without the GIL, and without a panic that crosses the border.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::prelude::*;

use crate::errors::{Error, raised};

/// Runs `work` without the GIL.
///
/// # Errors
/// The library's error as Python's exception; a panic as `igpt.Error`.
pub(crate) fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> igpt::Result<T> + Send) -> PyResult<T> {
    match py.detach(|| catch_unwind(AssertUnwindSafe(work))) {
        Ok(result) => result.map_err(raised),
        Err(panic) => Err(Error::new_err(format!("a bug in igpt: {}", message(&*panic)))),
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it panicked".into())
}
