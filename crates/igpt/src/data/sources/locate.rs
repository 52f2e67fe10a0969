//! Locating a published data set on this computer, or else downloading it.

use std::path::{Path, PathBuf};

use super::catalog::PublishedDataset;
use super::download;
use crate::data::OpenOptions;
use crate::{Error, Result};

/// Finds the first directory that satisfies `complete`, or downloads the data set.
///
/// It looks into the given data directory itself, then into the set's folder in that, in `$IGPT_DATA_DIR` and in the
/// user's data directory, then where operating systems put the set. If none is complete, the files are downloaded into
/// the set's folder of the first data directory, unless `$IGPT_OFFLINE` is set.
///
/// # Errors
/// Says why the download failed, and which files to put where.
pub(crate) fn find(
    known: &PublishedDataset,
    options: &OpenOptions,
    complete: impl Fn(&Path) -> bool,
) -> Result<PathBuf> {
    let roots = roots(options);
    let mut places: Vec<PathBuf> = options.data_dir.iter().cloned().collect();
    places.extend(roots.iter().flat_map(|root| known.folders.iter().map(move |folder| root.join(folder))));
    places.extend(known.system.iter().map(PathBuf::from));
    if let Some(place) = places.iter().find(|place| complete(place)) {
        return Ok(place.clone());
    }
    let target = roots.first().map_or_else(|| PathBuf::from(known.folders[0]), |root| root.join(known.folders[0]));
    let fetched = match variable("IGPT_OFFLINE") {
        Some(_) => Err("IGPT_OFFLINE is set".to_owned()),
        None => download::fetch_all(known, &target, options.progress.as_deref()),
    };
    fetched.map_err(|why| {
        let files = known.files.iter().map(|f| f.name).collect::<Vec<_>>().join(", ");
        Error::NotFound(format!(
            "{} is not on this computer and can't be downloaded ({why}): put {files} from {} into {} or another \
             directory and name that as the data directory",
            known.name,
            known.mirrors[0],
            target.display()
        ))
    })?;
    if complete(&target) {
        return Ok(target);
    }
    Err(Error::Missing(format!("{} was downloaded into {} but is not complete", known.name, target.display())))
}

/// Data directories, in the order of preference.
fn roots(options: &OpenOptions) -> Vec<PathBuf> {
    let user = variable("XDG_DATA_HOME")
        .or_else(|| variable("LOCALAPPDATA"))
        .or_else(|| variable("HOME").map(|home| home.join(".local/share")))
        .map(|dir| dir.join("igpt"));
    [options.data_dir.clone(), variable("IGPT_DATA_DIR"), user].into_iter().flatten().collect()
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
