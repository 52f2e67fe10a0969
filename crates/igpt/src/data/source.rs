//! Sources of images, and ordered selections of their images.

use std::borrow::Cow;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use super::TokenDir;
use crate::Result;
use crate::image::{ImageSize, Pixels};
use crate::text::one_line;

/// Source of images: a collection in which each image is decoded on demand at its own size.
pub trait Source: Send + Sync {
    /// Returns the number of images.
    fn len(&self) -> usize;

    /// Whether the source has no images.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the channels of every image: 1 for grey, 3 for RGB.
    fn channels(&self) -> usize;

    /// Decodes image `i`.
    ///
    /// An error means that this one image is damaged.
    fn pixels(&self, i: usize) -> Result<Pixels>;

    /// Decodes image `i` to 1 or 3 channels, whatever [`Source::channels`] is for all images together.
    ///
    /// # Errors
    /// Same as [`Source::pixels`].
    fn pixels_in(&self, i: usize, channels: usize) -> Result<Pixels> {
        self.pixels(i).map(|pixels| pixels.with_channels(channels).into_owned())
    }

    /// Returns the class of image `i`, an index into [`super::Dataset::classes`], if it has a label.
    fn label(&self, i: usize) -> Option<u32>;

    /// Returns the name of image `i` for messages and tables: a path inside its folder or archive.
    fn name(&self, i: usize) -> String;

    /// Whether the images are in memory, so that `pixels` costs no more than a copy.
    fn in_memory(&self) -> bool;

    /// Returns the path of image `i`, if it has a file of its own.
    fn path(&self, _i: usize) -> Option<PathBuf> {
        None
    }

    /// Returns the token directory, if the source is one and `pixels` only shows the tokens' colours.
    fn tokens(&self) -> Option<&TokenDir> {
        None
    }

    /// Returns a checksum of the pixels of image `i`, if that costs little.
    ///
    /// A run that is resumed recognises its images by it, where there are no files whose lengths could be compared.
    fn checksum(&self, _i: usize) -> Option<u64> {
        None
    }
}

/// Images of a source in a fixed order; cheap to clone.
#[derive(Clone)]
pub struct Images {
    source: Arc<dyn Source>,
    choice: Choice,
}

/// Indices into a source. A range of them takes no memory.
#[derive(Clone)]
enum Choice {
    Run(Range<u32>),
    List(Arc<[u32]>),
}

impl Images {
    /// Selects the images `indices` of `source`, in that order; panics if an index is out of range.
    pub fn new(source: Arc<dyn Source>, indices: impl Into<Arc<[u32]>>) -> Self {
        let indices = indices.into();
        assert!(indices.iter().all(|&i| (i as usize) < source.len()), "an index past the {} images", source.len());
        Self { source, choice: Choice::List(indices) }
    }

    /// Selects all images of `source` in their own order.
    pub fn all(source: Arc<dyn Source>) -> Self {
        let all = 0..source.len();
        Self::run(source, all)
    }

    /// Selects the images `run` of `source`, a range of indices; panics if it exceeds the source.
    pub fn run(source: Arc<dyn Source>, run: Range<usize>) -> Self {
        assert!(run.end <= source.len(), "{run:?} of {} images", source.len());
        Self { source, choice: Choice::Run(run.start as u32..run.end as u32) }
    }

    /// Returns the number of images.
    pub fn len(&self) -> usize {
        match &self.choice {
            Choice::Run(run) => run.len(),
            Choice::List(list) => list.len(),
        }
    }

    /// Whether the selection has no images.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the channels of every image: 1 for grey, 3 for RGB.
    pub fn channels(&self) -> usize {
        self.source.channels()
    }

    /// Decodes image `i` at its own size; an error means that this one image is damaged.
    pub fn pixels(&self, i: usize) -> Result<Pixels> {
        self.source.pixels(self.index(i))
    }

    /// Decodes image `i` at its own size to 1 or 3 channels.
    ///
    /// From a file, this is what the file shows, whatever the other images are.
    ///
    /// # Errors
    /// When image `i` is damaged.
    pub fn pixels_in(&self, i: usize, channels: usize) -> Result<Pixels> {
        self.source.pixels_in(self.index(i), channels)
    }

    /// Returns the class of image `i`, if it has a label.
    pub fn label(&self, i: usize) -> Option<u32> {
        self.source.label(self.index(i))
    }

    /// Returns the name of image `i` with control characters escaped, so that it fits into a line of a list or log.
    pub fn name(&self, i: usize) -> String {
        one_line(&self.source.name(self.index(i))).into_owned()
    }

    /// Returns the path of image `i`, if it has a file of its own.
    pub fn path(&self, i: usize) -> Option<PathBuf> {
        self.source.path(self.index(i))
    }

    /// Returns the length of the file of image `i` in bytes, if it has a file of its own.
    pub fn bytes(&self, i: usize) -> Option<u64> {
        Some(std::fs::metadata(self.path(i)?).ok()?.len())
    }

    /// Returns a checksum of the pixels of image `i`, if the source gives one.
    pub fn checksum(&self, i: usize) -> Option<u64> {
        self.source.checksum(self.index(i))
    }

    /// Returns the images' own size, if the first, the middle and the last image have it and a model supports it.
    pub fn common_size(&self) -> Option<ImageSize> {
        let last = self.len().checked_sub(1)?;
        let looked_at = [0, self.len() / 2, last].map(|i| self.pixels(i).ok().map(|pixels| pixels.size));
        let size = looked_at[0]?;
        let fits = [size.height, size.width].iter().all(|side| (8..=64).contains(side));
        (fits && looked_at.iter().all(|other| *other == Some(size))).then_some(size)
    }

    /// Whether the images are in memory, so that decoding costs no more than a copy.
    pub fn in_memory(&self) -> bool {
        self.source.in_memory()
    }

    /// Index of image `i` in the source.
    fn index(&self, i: usize) -> usize {
        match &self.choice {
            Choice::Run(run) => {
                assert!(i < run.len(), "image {i} of {}", run.len());
                run.start as usize + i
            }
            Choice::List(list) => list[i] as usize,
        }
    }

    /// Returns the indices of the images in the source, in order.
    pub fn indices(&self) -> Cow<'_, [u32]> {
        match &self.choice {
            Choice::Run(run) => run.clone().collect(),
            Choice::List(list) => Cow::Borrowed(list),
        }
    }

    /// Returns the token directory that the images come from, if they do.
    pub fn tokens(&self) -> Option<&TokenDir> {
        self.source.tokens()
    }

    /// Returns the token directory that image `i` comes from, if it does, and the image's index there.
    pub(super) fn stored(&self, i: usize) -> Option<(&TokenDir, usize)> {
        self.source.tokens().map(|tokens| (tokens, self.index(i)))
    }

    /// Selects the images at `positions` of this selection, in that order; panics if one is out of range.
    pub fn pick(&self, positions: impl IntoIterator<Item = usize>) -> Self {
        let list = positions.into_iter().map(|i| self.index(i) as u32).collect();
        Self { source: self.source.clone(), choice: Choice::List(list) }
    }

    /// Selects `n` evenly spread images, or all if there are fewer.
    ///
    /// Sources often are sorted by class.
    pub fn spread(&self, n: usize) -> Self {
        let n = n.min(self.len());
        self.pick((0..n).map(|i| i * self.len() / n))
    }

    /// Selects the first `n` images, or all if there are fewer.
    pub fn take(&self, n: usize) -> Self {
        let n = n.min(self.len());
        let choice = match &self.choice {
            Choice::Run(run) => Choice::Run(run.start..run.start + n as u32),
            Choice::List(list) => Choice::List(list[..n].into()),
        };
        Self { source: self.source.clone(), choice }
    }
}

impl std::fmt::Debug for Images {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} images of {} channels", self.len(), self.channels())
    }
}
