//! Lock of a run directory: one trainer at a time.
//!
//! It is the operating system's lock on the open file `.lock`, which ends with the process in any case. A file that a
//! killed run left behind is therefore stale and blocks nobody. Its contents only name the holder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::{Error, Result, files, machine};

/// Name of the lock file in the run directory.
pub(in crate::train) const NAME: &str = ".lock";

/// Number of attempts to take a held lock before it counts as a trainer's.
const PATIENCE: usize = 5;

/// Lock that is held until the last clone is dropped.
#[derive(Clone, Debug)]
pub(in crate::train) struct Lock {
    _held: Arc<File>,
}

impl Lock {
    /// Whether a process holds the lock of the run in `root`.
    pub(in crate::train) fn is_held(root: &Path) -> bool {
        // A shared lock, so that two such checks don't see each other.
        files::open(&root.join(NAME)).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Takes the lock of the run in `root`; `None` if the file system has no locks.
    ///
    /// # Errors
    /// When another process holds it, and when the file can't be made.
    pub(in crate::train) fn take(root: &Path) -> Result<Option<Self>> {
        let path = root.join(NAME);
        let open = OpenOptions::new().create(true).write(true).truncate(false).open(&path);
        let mut file = open.map_err(Error::io(&path))?;
        // A process that checks the lock holds it for a moment.
        let mut locked = file.try_lock();
        for _ in 0..PATIENCE {
            if matches!(locked, Err(TryLockError::WouldBlock)) {
                std::thread::sleep(Duration::from_millis(10));
                locked = file.try_lock();
            }
        }
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let holder = files::read_to_string(&path).unwrap_or_default();
                let holder = if holder.trim().is_empty() { "another process" } else { holder.trim() };
                return Err(Error::Invalid(format!(
                    "{} is being trained by {holder}: wait for it, stop it, or choose another --out",
                    root.display()
                )));
            }
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(Error::Io { path, source: error }),
        }
        let host = machine::host_name().map_or(String::new(), |name| format!(" on {name}"));
        let holder = format!("process {}{host}\n", std::process::id());
        // On a full disk the lock holds nevertheless.
        let _ = file.set_len(0).and_then(|()| file.write_all(holder.as_bytes()));
        Ok(Some(Self { _held: Arc::new(file) }))
    }
}
