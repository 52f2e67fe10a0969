//! Guard against panics in decoders.
//!
//! Decoders are code of others, and some panic on damage that they did not expect. The guard catches the panic, and the
//! caller reports it in its own words instead of a backtrace.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local!(static GUARDED: Cell<bool> = const { Cell::new(false) });
static QUIET: Once = Once::new();

/// Runs `work` and returns its result; `None` if it panicked.
pub(super) fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    QUIET.call_once(|| {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                hook(info);
            }
        }));
    });
    GUARDED.set(true);
    let done = panic::catch_unwind(AssertUnwindSafe(work)).ok();
    GUARDED.set(false);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_no_more_than_nothing() {
        assert_eq!(guarded(|| 3), Some(3));
        assert_eq!(guarded(|| -> u8 { panic!("damage") }), None);
        assert!(!GUARDED.get(), "later panics are told");
    }
}
