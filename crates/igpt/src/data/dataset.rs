//! A data set cut into its parts, and how to open one.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::sources::download;
use super::split::{self, Split};
use super::{Images, Source};
use crate::setters::setters;
use crate::text::one_line;
use crate::{Error, Result};

/// A data set cut into its parts.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// What `--data` said.
    pub name: String,
    /// Channels of every image: 1 grey, 3 RGB.
    pub channels: usize,
    /// Names of the classes; empty where images carry no labels.
    pub classes: Vec<String>,
    /// What a model learns from.
    pub train: Images,
    /// What settings are chosen by.
    pub validation: Images,
    /// What is reported.
    pub test: Images,
    /// Whether the parts are the data set's own; otherwise it is one heap of images, of which they are drawn by seed.
    pub has_parts: bool,
    /// Whether an image means the same when it is mirrored left to right; not known of folders, and so not assumed.
    pub mirrors: bool,
    /// What was noticed that could be meant otherwise, or is left out: sentences to be shown.
    pub notes: Vec<String>,
    all: Images,
}

/// Classes that [`Dataset::summary`] names.
const NAMED: usize = 10;

/// How to open a data set.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct OpenOptions {
    /// Where downloaded data sets are looked for first and put.
    pub data_dir: Option<PathBuf>,
    /// Seed of the cuts that a data set doesn't bring itself. It belongs to the data, not to a training run: a model
    /// evaluated with another seed than it was trained with would be tested on images it has seen.
    pub seed: u64,
    /// Told how far a download is.
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

/// Names that can't look like more than a line of a list.
fn in_lines(names: Vec<String>) -> Vec<String> {
    names.iter().map(|name| one_line(name).into_owned()).collect()
}

impl Dataset {
    /// A data set of one source, given the positions of (train, validation, test).
    pub fn new(name: impl Into<String>, classes: Vec<String>, source: Arc<dyn Source>, parts: [Vec<u32>; 3]) -> Self {
        let parts = parts.map(|part| Images::new(source.clone(), part));
        Self::of_parts(name.into(), classes, source, parts)
    }

    /// A data set of one source whose parts, of these lengths, follow each other in it: train, validation, test.
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

    /// As [`Dataset::new`], with a seeded tenth of `train` as validation.
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

    /// What a run begins with, in a line: `train 80, validation 10, test 10 images; 2 classes: cat, dog`.
    pub fn summary(&self) -> String {
        let [train, validation, test] = [&self.train, &self.validation, &self.test].map(Images::len);
        let cut = if self.has_parts { "" } else { ", drawn by seed" };
        format!("train {train}, validation {validation}, test {test} images{cut}; {}", self.class_names())
    }

    /// How many classes there are, and the first of them by name.
    pub fn class_names(&self) -> String {
        let named = self.classes[..self.classes.len().min(NAMED)].join(", ");
        match self.classes.len() {
            0 => "no classes".into(),
            1 => format!("1 class: {named}"),
            n if n <= NAMED => format!("{n} classes: {named}"),
            n => format!("{n} classes: {named} and {} more", n - NAMED),
        }
    }

    /// The images of `split`.
    ///
    /// # Errors
    /// When there are none.
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
                return Err(Error::Missing(format!(
                    "{} has {count}, but none of the {split} split: add images, or name another split where there is a choice",
                    self.name
                )));
            }
            return Err(Error::Missing(format!(
                "{} has {count}, too few for a {split} split: add images, or name another split where there is a choice",
                self.name
            )));
        }
        Ok(images.clone())
    }
}
