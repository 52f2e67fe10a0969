//! Where a known data set lies on this computer.

use std::path::{Path, PathBuf};

use super::OpenOptions;
use crate::{Error, Result};

/// A published data set: where it may lie and where it can be had.
#[derive(Debug)]
pub struct Known {
    /// Its name in `--data`.
    pub name: &'static str,
    /// Sub-folders of a data directory to look into, the first of which downloads go to; others are torchvision's.
    pub folders: &'static [&'static str],
    /// Where operating systems' packages put it.
    pub system: &'static [&'static str],
    /// Addresses that a file's name is appended to, the best first.
    pub mirrors: &'static [&'static str],
    /// The files as published.
    pub files: &'static [Remote],
    /// Names of its classes in the order of the labels.
    pub classes: &'static [&'static str],
}

/// A published file. Lengths and hashes are those recorded by TensorFlow Datasets (`url_checksums`).
#[derive(Debug)]
pub struct Remote {
    /// Name, on the server as on the disk.
    pub name: &'static str,
    /// Length.
    pub bytes: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: &'static str,
}

/// The first directory that satisfies `complete`: in the given data directory, `$IGPT_DATA_DIR`, the user's data
/// directory, and where operating systems put the set.
///
/// # Errors
/// Says which files to put where.
pub fn find(known: &Known, options: &OpenOptions, complete: impl Fn(&Path) -> bool) -> Result<PathBuf> {
    let mut places = Vec::new();
    if let Some(dir) = &options.data_dir {
        // A directory that the user names may also be the set's own.
        places.push(dir.clone());
    }
    let roots = roots(options);
    places.extend(roots.iter().flat_map(|root| known.folders.iter().map(move |folder| root.join(folder))));
    places.extend(known.system.iter().map(PathBuf::from));
    if let Some(place) = places.iter().find(|place| complete(place)) {
        return Ok(place.clone());
    }
    let files = known.files.iter().map(|f| f.name).collect::<Vec<_>>().join(", ");
    let target = roots.first().map_or_else(|| PathBuf::from(known.folders[0]), |root| root.join(known.folders[0]));
    Err(Error::Missing(format!(
        "{} is not on this computer: put {files} from {} into {}",
        known.name,
        known.mirrors[0],
        target.display()
    )))
}

/// Data directories, the preferred first.
fn roots(options: &OpenOptions) -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let user = variable("XDG_DATA_HOME")
        .or_else(|| variable("LOCALAPPDATA"))
        .or_else(|| variable("HOME").map(|home| home.join(".local/share")))
        .map(|dir| dir.join("igpt"));
    [options.data_dir.clone(), variable("IGPT_DATA_DIR"), user].into_iter().flatten().collect()
}
