//! Any folder of images: flat, or with a sub-folder for each class, or with train, validation and test inside.
//!
//! - `FOLDER/*.png`: no labels. `FOLDER/cat/…/*.png`: the first sub-folder is the class.
//! - With a sub-folder `train`, its parts are `train`, `validation` (or `val`, `valid`) and `test`, each flat or with
//!   classes; anything else in the folder is left alone.
//! - A part that the folder doesn't bring is a seeded tenth of the images of train: validation and test both, so that
//!   every folder can be trained on, tuned and tested.
//! - The folder counts as grey (1 channel) when each of up to 64 files spread over it says in its header that it has
//!   no colour; otherwise as RGB. Images of the other kind are converted.
//! - Files are taken by their ending ([`super::decode::EXTENSIONS`]), in the order of their paths; what starts with a
//!   dot is skipped.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Dataset, Pixels, Source, decode, split};
use crate::{Error, Result};

/// Files whose headers are read to tell grey from colour.
const SAMPLE: usize = 64;
/// Sub-folders below sub-folders, beyond which a link must lead in a circle.
const DEPTH: usize = 32;

/// Image files, decoded when asked for.
struct Folder {
    root: PathBuf,
    /// Paths below the root, `/` between their parts, sorted.
    files: Vec<String>,
    labels: Vec<Option<u32>>,
    channels: usize,
}

impl Source for Folder {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn channels(&self) -> usize {
        self.channels
    }

    fn pixels(&self, i: usize) -> Result<Pixels> {
        decode::read(&self.root.join(&self.files[i]), self.channels)
    }

    fn label(&self, i: usize) -> Option<u32> {
        self.labels[i]
    }

    fn name(&self, i: usize) -> String {
        self.files[i].clone()
    }

    fn bytes(&self, i: usize) -> Option<u64> {
        Some(std::fs::metadata(self.root.join(&self.files[i])).ok()?.len())
    }

    fn in_memory(&self) -> bool {
        false
    }
}

/// Opens the folder `root`; see the module's words.
///
/// # Errors
/// When it can't be read or holds no images.
pub fn open(root: &Path, seed: u64) -> Result<Dataset> {
    let mut files = Vec::new();
    collect(root, "", 0, &mut files)?;
    let has_parts = root.join("train").is_dir();
    if has_parts {
        files.retain(|file| part(file).is_some());
    }
    if files.is_empty() {
        return Err(Error::Missing(format!(
            "no images in {}: PNG, JPEG, WebP, GIF, BMP and TIFF files are looked for, in sub-folders too",
            root.display()
        )));
    }
    files.sort_unstable();

    let class = |file: &str| {
        let file = if has_parts { file.split_once('/').map_or("", |(_, rest)| rest) } else { file };
        file.split_once('/').map(|(class, _)| class.to_owned())
    };
    let classes: Vec<String> =
        files.iter().filter_map(|file| class(file)).collect::<BTreeSet<_>>().into_iter().collect();
    let label = |file: &String| class(file).and_then(|c| classes.binary_search(&c).ok()).map(|l| l as u32);
    let labels = files.iter().map(label).collect();

    let mut parts = [Vec::new(), Vec::new(), Vec::new()];
    for (i, file) in files.iter().enumerate() {
        parts[if has_parts { part(file).unwrap_or(0) } else { 0 }].push(i as u32);
    }
    let count = split::tenth(parts[0].len());
    for (turn, p) in [(0, 1), (1, 2)] {
        // The last image stays in train.
        if parts[p].is_empty() && parts[0].len() > 1 {
            parts[p] = split::take_seeded(&mut parts[0], count, seed, turn);
        }
    }

    let channels = channels(root, &files);
    let source = Folder { root: root.to_owned(), files, labels, channels };
    Ok(Dataset::new(root.display().to_string(), classes, Arc::new(source), parts))
}

/// Which of (train, validation, test) a path below the root belongs to.
fn part(file: &str) -> Option<usize> {
    match file.split_once('/')?.0 {
        "train" => Some(0),
        "validation" | "val" | "valid" => Some(1),
        "test" => Some(2),
        _ => None,
    }
}

/// Adds the images below `dir`, whose path below the root is `prefix`.
fn collect(dir: &Path, prefix: &str, depth: usize, files: &mut Vec<String>) -> Result<()> {
    if depth > DEPTH {
        return Err(Error::Invalid(format!("{} lies too deep: is a link in it a circle?", dir.display())));
    }
    for entry in std::fs::read_dir(dir).map_err(Error::io(dir))? {
        let entry = entry.map_err(Error::io(dir))?;
        let Ok(name) = entry.file_name().into_string() else {
            return Err(Error::Invalid(format!("{} has a name that is not UTF-8: rename it", entry.path().display())));
        };
        if name.starts_with('.') || name == "__MACOSX" {
            continue;
        }
        // Follows links; a link to nothing is no image.
        let Ok(kind) = std::fs::metadata(entry.path()) else { continue };
        let below = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        if kind.is_dir() {
            collect(&entry.path(), &below, depth + 1, files)?;
        } else if below.rsplit_once('.').is_some_and(|(_, ending)| is_image(ending)) {
            files.push(below);
        }
    }
    Ok(())
}

fn is_image(ending: &str) -> bool {
    decode::EXTENSIONS.iter().any(|e| e.eq_ignore_ascii_case(ending))
}

/// 1 when the sampled files that can be read are all grey, otherwise 3.
fn channels(root: &Path, files: &[String]) -> usize {
    let step = files.len().div_ceil(SAMPLE);
    let mut sample = files.iter().step_by(step).filter_map(|file| decode::is_grey(&root.join(file))).peekable();
    if sample.peek().is_some() && sample.all(|grey| grey) { 1 } else { 3 }
}

#[cfg(test)]
mod tests;
