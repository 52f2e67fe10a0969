//! Downloads that survive a broken line: resumed, checked, and put in place in one step.
//!
//! A file grows as `NAME.part` and gets its name only when its length and SHA-256 are those published, so that what
//! lies under the name is always whole. A `.part` left by an earlier run is continued where the server allows it.

#[cfg(feature = "downloads")]
mod fetch;
mod progress;

use std::path::Path;

#[cfg(feature = "downloads")]
use self::fetch::fetch;
pub use self::progress::{DownloadHook, DownloadProgress};
use super::catalog::PublishedDataset;

/// Puts the files of `known` that aren't there into `dir`. The error is a clause that says why not.
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

/// Stands in for the download of builds without it.
#[cfg(not(feature = "downloads"))]
fn fetch(_: &str, _: &super::catalog::RemoteFile, _: &Path, _: Option<&DownloadHook>) -> Result<(), String> {
    Err("igpt was built without the feature `downloads`".into())
}

#[cfg(all(test, feature = "downloads"))]
mod tests;
