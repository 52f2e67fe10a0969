//! Folders of images: flat, with a sub-folder per class, or with sub-folders train, validation and test.
//!
//! - `FOLDER/*.png`: no labels. `FOLDER/cat/…/*.png`: the first sub-folder is the class.
//! - With a sub-folder `train`, its parts are `train`, `validation` and `test`, each flat or with classes. The names of
//!   parts are those of [`parts`]. Everything else in the folder is ignored, with a note that counts it.
//! - A single sub-folder that holds all images, in sub-folders of its own, is taken for the folder:
//!   `FOLDER/archive/train`.
//! - A part that the folder doesn't have, validation or test, is a seeded tenth of the images of train. Every folder can
//!   therefore be trained on, tuned and tested.
//! - The folder counts as grey (1 channel) if each of up to 64 files spread over it has no colour according to its
//!   header; otherwise it counts as RGB. Images of the other kind are converted.
//! - Files are recognised by their extension ([`decode::EXTENSIONS`](crate::formats::decode::EXTENSIONS)), in the order
//!   of their paths. Other files are counted in a note. Leftovers of operating systems and storage are skipped (see
//!   [`walk`]).
//!
//! Reading order: [`walk`], [`layout`], [`files`], this file.

pub(crate) mod files;
pub(crate) mod layout;
pub(crate) mod parts;
#[cfg(test)]
mod tests;
pub(crate) mod walk;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::files::{Files, channels};
use self::layout::FolderLayout;
use self::parts::PARTS;
use self::walk::{FolderScan, ImageFile};
use crate::data::{Dataset, Images, split};
use crate::{Error, Result};

/// Opens the folder `root` as a data set, with notes on its layout; see the module's documentation.
///
/// # Errors
/// When the folder can't be read or holds no images.
pub(crate) fn open(root: &Path, seed: u64) -> Result<Dataset> {
    let mut walk = FolderScan::through(root)?;
    let layout = FolderLayout::of(&walk);
    walk.files.retain(|file| layout.keeps(&file.name));
    let files = walk.files;
    let passed_over = walk.passed_over.to_string();
    if files.is_empty() {
        return Err(no_images(root, &passed_over));
    }

    let classes = layout.classes(&files);
    let label = |file: &ImageFile| layout.class(&file.name).and_then(|class| classes.binary_search(&class).ok());
    let labels = files.iter().map(|file| label(file).map(|label| label as u32)).collect();
    let mut parts = [Vec::new(), Vec::new(), Vec::new()];
    for (i, file) in files.iter().enumerate() {
        parts[layout.part(&file.name).unwrap_or(0)].push(i as u32);
    }
    let mut notes = layout.notes;
    let count = split::tenth(parts[0].len());
    for (turn, p) in [(0, 1), (1, 2)] {
        // The last image stays in train.
        if parts[p].is_empty() && parts[0].len() > 1 {
            parts[p] = split::take_seeded(&mut parts[0], count, seed, turn);
            if layout.has_parts {
                let (name, count) = (PARTS[p], parts[p].len());
                notes.push(format!(
                    "no images of {name} in the folder: {count} of train, drawn by seed, are its {name} part"
                ));
            }
        }
    }
    if walk.renamed > 0 {
        let (names, are) = if walk.renamed == 1 { ("name is", "is") } else { ("names are", "are") };
        notes.push(format!("{} file {names} not UTF-8 and {are} shown with \u{fffd}", walk.renamed));
    }
    if !passed_over.is_empty() {
        notes.push(passed_over);
    }

    let channels = channels(root, &files);
    let source = Files { root: root.to_owned(), files, labels, channels };
    let mut dataset = Dataset::new(root.display().to_string(), classes, Arc::new(source), parts);
    (dataset.has_parts, dataset.notes) = (layout.has_parts, notes);
    Ok(dataset)
}

/// Opens one image file as a data set of one image, without labels.
///
/// # Errors
/// When the file does not exist, or is not a regular file.
pub(crate) fn open_file(path: &Path) -> Result<Dataset> {
    crate::files::open(path)?;
    let name = path.file_name().unwrap_or(path.as_os_str());
    let files = vec![ImageFile::new(name.to_string_lossy().into_owned(), Path::new(name))];
    let source = of(path.parent().unwrap_or(Path::new("")), files);
    let parts = [vec![0], Vec::new(), Vec::new()];
    let mut dataset = Dataset::new(path.display().to_string(), Vec::new(), Arc::new(source), parts);
    dataset.has_parts = false;
    Ok(dataset)
}

/// Lists the paths of all image files below `root`, and describes the skipped files in one line.
///
/// Sub-folders have no meaning here. The line is empty if nothing was skipped.
///
/// # Errors
/// When the folder can't be read or holds no images.
pub fn image_files(root: &Path) -> Result<(Vec<PathBuf>, String)> {
    let walk = FolderScan::through(root)?;
    let passed_over = walk.passed_over.to_string();
    match walk.files.is_empty() {
        true => Err(no_images(root, &passed_over)),
        false => Ok((walk.files.iter().map(|file| root.join(file.path())).collect(), passed_over)),
    }
}

fn no_images(root: &Path, passed_over: &str) -> Error {
    let but = if passed_over.is_empty() { String::new() } else { format!("; {passed_over}") };
    Error::NotFound(format!(
        "no images in {}: PNG, JPEG, WebP, GIF, BMP and TIFF files are looked for, in sub-folders too{but}",
        root.display()
    ))
}

/// Creates images from the files at `paths`, without labels, named by their paths.
pub fn images_of_files(paths: &[PathBuf]) -> Images {
    let files = paths.iter().map(|path| ImageFile::new(path.to_string_lossy().into_owned(), path)).collect();
    Images::all(Arc::new(of(Path::new(""), files)))
}

/// Creates the source of files below `root`, without labels.
fn of(root: &Path, files: Vec<ImageFile>) -> Files {
    let (channels, labels) = (channels(root, &files), vec![None; files.len()]);
    Files { root: root.to_owned(), files, labels, channels }
}
