//! Data sets with training, validation and test parts, and the options for opening one.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::sources::download;
use super::split::{self, Split};
use super::{Images, Source};
use crate::setters::setters;
use crate::text::one_line;
use crate::{Error, Result};

/// A data set of images with training, validation and test parts.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Name of the data set, as given to `--data`.
    pub name: String,
    /// Channels of every image: 1 for grey, 3 for RGB.
    pub channels: usize,
    /// Names of the classes; empty if the images have no labels.
    pub classes: Vec<String>,
    /// Training images.
    pub train: Images,
    /// Validation images, for the choice of settings.
    pub validation: Images,
    /// Test images, for reported results.
    pub test: Images,
    /// Whether the parts come with the data set; otherwise they are drawn by seed from a single set of images.
    pub has_parts: bool,
    /// Whether images keep their meaning when mirrored left to right.
    ///
    /// It is unknown for folders, and therefore false.
    pub mirrors: bool,
    /// Notes on ambiguous or ignored files, as sentences for the user.
    pub notes: Vec<String>,
    all: Images,
}

/// Number of classes that [`Dataset::summary`] names.
const NAMED: usize = 10;

/// Options for opening a data set: data directory, seed of the splits, download progress.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct OpenOptions {
    /// Directory of downloaded data sets: searched first, and the target of downloads.
    pub data_dir: Option<PathBuf>,
    /// Seed of the splits that a data set does not bring itself.
    ///
    /// It belongs to the data, not to a training run. A model evaluated with another seed than in training would be
    /// tested on images it has seen.
    pub seed: u64,
    /// Callback for the progress of downloads.
    pub progress: Option<Arc<download::DownloadHook>>,
}

impl fmt::Debug for OpenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenOptions")
            .field("data_dir", &self.data_dir)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

setters!(OpenOptions { data_dir: Option<PathBuf>, seed: u64, progress: Option<Arc<download::DownloadHook>> });

/// Escapes names, so that each stays within one line of a list.
fn in_lines(names: Vec<String>) -> Vec<String> {
    names.iter().map(|name| one_line(name).into_owned()).collect()
}

impl Dataset {
    /// Creates a data set from the images of a source, given the indices of (train, validation, test).
    pub fn new(name: impl Into<String>, classes: Vec<String>, source: Arc<dyn Source>, parts: [Vec<u32>; 3]) -> Self {
        let parts = parts.map(|part| Images::new(source.clone(), part));
        Self::of_parts(name.into(), classes, source, parts)
    }

    /// Creates a data set from a source in which the parts, of these lengths, are in the order train, validation, test.
    pub(super) fn in_order(name: String, classes: Vec<String>, source: Arc<dyn Source>, parts: [usize; 3]) -> Self {
        let mut end = 0;
        let parts = parts.map(|part| {
            end += part;
            Images::run(source.clone(), end - part..end)
        });
        Self::of_parts(name, classes, source, parts)
    }

    fn of_parts(name: String, classes: Vec<String>, source: Arc<dyn Source>, parts: [Images; 3]) -> Self {
        let [train, validation, test] = parts;
        Self {
            name,
            channels: source.channels(),
            classes: in_lines(classes),
            train,
            validation,
            test,
            has_parts: true,
            mirrors: false,
            notes: Vec::new(),
            all: Images::all(source),
        }
    }

    /// Creates a data set like [`Dataset::new`], with a seeded tenth of `train` as validation.
    pub(super) fn with_carved_validation(
        name: &str,
        classes: &[&str],
        source: Arc<dyn Source>,
        mut train: Vec<u32>,
        test: Vec<u32>,
        seed: u64,
    ) -> Self {
        let count = split::tenth(train.len());
        let validation = split::take_seeded(&mut train, count, seed, 0);
        let classes = classes.iter().map(|&c| c.to_owned()).collect();
        Self::new(name, classes, source, [train, validation, test])
    }

    /// Summary of sizes and classes in one line: `train 80, validation 10, test 10 images; 2 classes: cat, dog`.
    pub fn summary(&self) -> String {
        let [train, validation, test] = [&self.train, &self.validation, &self.test].map(Images::len);
        let cut = if self.has_parts { "" } else { ", drawn by seed" };
        format!("train {train}, validation {validation}, test {test} images{cut}; {}", self.class_names())
    }

    /// Number of classes and the first of their names, as text.
    pub fn class_names(&self) -> String {
        let named = self.classes[..self.classes.len().min(NAMED)].join(", ");
        match self.classes.len() {
            0 => "no classes".into(),
            1 => format!("1 class: {named}"),
            n if n <= NAMED => format!("{n} classes: {named}"),
            n => format!("{n} classes: {named} and {} more", n - NAMED),
        }
    }

    /// Returns the images of `split`.
    ///
    /// # Errors
    /// When the split has no images.
    pub fn split(&self, split: Split) -> Result<Images> {
        let images = match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
            Split::Test => &self.test,
            Split::All => &self.all,
        };
        if images.is_empty() {
            let count = match self.all.len() {
                1 => "1 image".to_owned(),
                n => format!("{n} images"),
            };
            if self.has_parts {
                return Err(Error::Invalid(format!(
                    "{} has {count}, but none of the {split} split: add images, or name another split where there is a choice",
                    self.name
                )));
            }
            return Err(Error::Invalid(format!(
                "{} has {count}, too few for a {split} split: add images, or name another split where there is a choice",
                self.name
            )));
        }
        Ok(images.clone())
    }
}
