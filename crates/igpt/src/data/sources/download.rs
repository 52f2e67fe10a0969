//! Downloads that survive an interrupted connection: resumed, checked, and put in place in one step.
//!
//! A file grows as `NAME.part`. It is renamed only when its length and SHA-256 are the published ones, so that a file of
//! that name is always complete. A `.part` of an earlier run is continued if the server allows it.

#[cfg(feature = "downloads")]
mod fetch;
mod progress;

use std::path::Path;

#[cfg(feature = "downloads")]
use self::fetch::fetch;
pub use self::progress::{DownloadHook, DownloadProgress};
use super::catalog::PublishedDataset;

/// Downloads the missing files of `known` into `dir`; an error is a clause that says why this failed.
pub(super) fn fetch_all(known: &PublishedDataset, dir: &Path, progress: Option<&DownloadHook>) -> Result<(), String> {
    std::fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    known.files.iter().filter(|file| !dir.join(file.name).is_file()).try_for_each(|file| {
        let mut problems = Vec::new();
        for mirror in known.mirrors {
            match fetch(&format!("{mirror}{}", file.name), file, dir, progress) {
                Ok(()) => return Ok(()),
                Err(problem) => problems.push(format!("{mirror}{}: {problem}", file.name)),
            }
        }
        Err(problems.join("; "))
    })
}

/// Replaces the download in builds without it.
#[cfg(not(feature = "downloads"))]
fn fetch(_: &str, _: &super::catalog::RemoteFile, _: &Path, _: Option<&DownloadHook>) -> Result<(), String> {
    Err("igpt was built without the feature `downloads`".into())
}

#[cfg(all(test, feature = "downloads"))]
mod tests;
