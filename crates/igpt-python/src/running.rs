//! Running the library from Python: without the GIL, interruptible, and without a panic that crosses the border.

use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use crate::errors::{Error, raised};

/// Time between two looks for Ctrl-C; each takes the GIL.
const PAUSE: Duration = Duration::from_millis(200);

/// Images that are computed between two looks for Ctrl-C.
const IMAGES: usize = 64;

/// Runs `work` without the GIL.
///
/// # Errors
/// The library's error as Python's exception; a panic as `igpt.Error`; what Python raised in [`Interrupts::look`].
pub(crate) fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> igpt::Result<T> + Send) -> PyResult<T> {
    match py.detach(|| catch_unwind(AssertUnwindSafe(work))) {
        Ok(result) => result.map_err(raised),
        Err(panic) => Err(match panic.downcast::<Interrupted>() {
            Ok(interrupted) => interrupted.0,
            Err(panic) => Error::new_err(format!("a bug in igpt: {}", message(&*panic))),
        }),
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it panicked".into())
}

/// What Python raised while the library computed; it unwinds to [`detached`].
struct Interrupted(PyErr);

/// Looks for Ctrl-C in work that takes long.
pub(crate) struct Interrupts(Instant);

impl Interrupts {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }

    /// Ends the work of [`detached`] if Python was interrupted; most calls cost nothing.
    pub(crate) fn look(&mut self) {
        if self.0.elapsed() < PAUSE {
            return;
        }
        self.0 = Instant::now();
        if let Err(raised) = Python::attach(|py| py.check_signals()) {
            // No panic: nothing is printed.
            resume_unwind(Box::new(Interrupted(raised)));
        }
    }
}

/// Calls `work` with the numbers of `count` images, some at a time, and looks for Ctrl-C in between.
pub(crate) fn in_turns(count: usize, mut work: impl FnMut(Range<usize>) -> igpt::Result<()>) -> igpt::Result<()> {
    let mut interrupts = Interrupts::new();
    for start in (0..count).step_by(IMAGES) {
        interrupts.look();
        work(start..count.min(start + IMAGES))?;
    }
    Ok(())
}
