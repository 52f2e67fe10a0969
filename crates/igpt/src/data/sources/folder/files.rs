//! Source of image files below a folder, decoded on demand.

use std::path::{Path, PathBuf};

use super::walk::ImageFile;
use crate::Result;
use crate::data::Source;
use crate::formats::decode;
use crate::image::Pixels;

/// Number of files whose headers are read to distinguish grey from colour.
const SAMPLE: usize = 64;

/// Source of image files, decoded on demand.
pub(super) struct Files {
    pub(super) root: PathBuf,
    /// Sorted by name.
    pub(super) files: Vec<ImageFile>,
    pub(super) labels: Vec<Option<u32>>,
    pub(super) channels: usize,
}

impl Source for Files {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn channels(&self) -> usize {
        self.channels
    }

    fn pixels(&self, i: usize) -> Result<Pixels> {
        self.pixels_in(i, self.channels)
    }

    fn pixels_in(&self, i: usize, channels: usize) -> Result<Pixels> {
        decode::read(&self.root.join(self.files[i].path()), channels)
    }

    fn label(&self, i: usize) -> Option<u32> {
        self.labels[i]
    }

    fn name(&self, i: usize) -> String {
        self.files[i].name.clone()
    }

    fn in_memory(&self) -> bool {
        false
    }

    fn path(&self, i: usize) -> Option<PathBuf> {
        Some(self.root.join(self.files[i].path()))
    }
}

/// Returns 1 if the sampled readable files are all grey, otherwise 3.
pub(super) fn channels(root: &Path, files: &[ImageFile]) -> usize {
    let step = files.len().div_ceil(SAMPLE).max(1);
    let grey = |file: &ImageFile| decode::is_grey(&root.join(file.path()));
    let mut sample = files.iter().step_by(step).filter_map(grey).peekable();
    if sample.peek().is_some() && sample.all(|grey| grey) { 1 } else { 3 }
}
