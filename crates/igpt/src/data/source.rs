//! Where images come from, and a choice of them in a given order.

use std::borrow::Cow;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use super::TokenDir;
use crate::Result;
use crate::image::{ImageSize, Pixels};
use crate::text::one_line;

/// A collection of images, each decoded on demand at its own size.
pub trait Source: Send + Sync {
    /// Number of images.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Channels of every image: 1 grey, 3 RGB.
    fn channels(&self) -> usize;

    /// Image `i`, decoded. An error means that this one image is damaged.
    fn pixels(&self, i: usize) -> Result<Pixels>;

    /// Image `i`, decoded to 1 or 3 channels whatever [`Source::channels`] says of all images together.
    ///
    /// # Errors
    /// As [`Source::pixels`].
    fn pixels_in(&self, i: usize, channels: usize) -> Result<Pixels> {
        self.pixels(i).map(|pixels| pixels.with_channels(channels).into_owned())
    }

    /// Class of image `i`, an index into [`super::Dataset::classes`].
    fn label(&self, i: usize) -> Option<u32>;

    /// What to call image `i` in messages and tables: a path inside its folder or archive.
    fn name(&self, i: usize) -> String;

    /// Whether `pixels` costs no more than a copy.
    fn in_memory(&self) -> bool;

    /// The file of image `i`, where it has one of its own.
    fn path(&self, _i: usize) -> Option<PathBuf> {
        None
    }

    /// The images as tokens, where the source holds those and `pixels` only shows their colours.
    fn tokens(&self) -> Option<&TokenDir> {
        None
    }
}

/// Some images of a source in a fixed order; cheap to clone.
#[derive(Clone)]
pub struct Images {
    source: Arc<dyn Source>,
    choice: Choice,
}

/// Positions in a source. A run of them takes no memory.
#[derive(Clone)]
enum Choice {
    Run(Range<u32>),
    List(Arc<[u32]>),
}

impl Images {
    /// The images `indices` of `source`, in that order. Panics when an index is out of range.
    pub fn new(source: Arc<dyn Source>, indices: impl Into<Arc<[u32]>>) -> Self {
        let indices = indices.into();
        assert!(indices.iter().all(|&i| (i as usize) < source.len()), "an index past the {} images", source.len());
        Self { source, choice: Choice::List(indices) }
    }

    /// Every image of `source` in its own order.
    pub fn all(source: Arc<dyn Source>) -> Self {
        let all = 0..source.len();
        Self::run(source, all)
    }

    /// The images `run` of `source`. Panics when it leads past the end.
    pub fn run(source: Arc<dyn Source>, run: Range<usize>) -> Self {
        assert!(run.end <= source.len(), "{run:?} of {} images", source.len());
        Self { source, choice: Choice::Run(run.start as u32..run.end as u32) }
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        match &self.choice {
            Choice::Run(run) => run.len(),
            Choice::List(list) => list.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Channels of every image: 1 grey, 3 RGB.
    pub fn channels(&self) -> usize {
        self.source.channels()
    }

    /// Image `i`, decoded at its own size; an error means that this one image is damaged.
    pub fn pixels(&self, i: usize) -> Result<Pixels> {
        self.source.pixels(self.index(i))
    }

    /// Image `i`, decoded at its own size to 1 or 3 channels: of a file what it shows, whatever the other images are.
    ///
    /// # Errors
    /// When this one image is damaged.
    pub fn pixels_in(&self, i: usize, channels: usize) -> Result<Pixels> {
        self.source.pixels_in(self.index(i), channels)
    }

    /// Class of image `i`.
    pub fn label(&self, i: usize) -> Option<u32> {
        self.source.label(self.index(i))
    }

    /// Name of image `i`, fit to stand in a line of a list or log: control characters are escaped.
    pub fn name(&self, i: usize) -> String {
        one_line(&self.source.name(self.index(i))).into_owned()
    }

    /// The file of image `i`, where it has one of its own.
    pub fn path(&self, i: usize) -> Option<PathBuf> {
        self.source.path(self.index(i))
    }

    /// Length of the file that image `i` is, in bytes, where each image is one.
    pub fn bytes(&self, i: usize) -> Option<u64> {
        Some(std::fs::metadata(self.path(i)?).ok()?.len())
    }

    /// The images' own size, if it is that of the first, the middle and the last and the model can have it.
    pub fn own_size(&self) -> Option<ImageSize> {
        let last = self.len().checked_sub(1)?;
        let looked_at = [0, self.len() / 2, last].map(|i| self.pixels(i).ok().map(|pixels| pixels.size));
        let size = looked_at[0]?;
        let fits = [size.height, size.width].iter().all(|side| (8..=64).contains(side));
        (fits && looked_at.iter().all(|other| *other == Some(size))).then_some(size)
    }

    /// Whether decoding costs no more than a copy.
    pub fn in_memory(&self) -> bool {
        self.source.in_memory()
    }

    /// Position of image `i` in the source.
    fn index(&self, i: usize) -> usize {
        match &self.choice {
            Choice::Run(run) => {
                assert!(i < run.len(), "image {i} of {}", run.len());
                run.start as usize + i
            }
            Choice::List(list) => list[i] as usize,
        }
    }

    /// Positions in the source, in order.
    pub fn indices(&self) -> Cow<'_, [u32]> {
        match &self.choice {
            Choice::Run(run) => run.clone().collect(),
            Choice::List(list) => Cow::Borrowed(list),
        }
    }

    /// The directory of tokens that the images come from, if they do.
    pub fn tokens(&self) -> Option<&TokenDir> {
        self.source.tokens()
    }

    /// The directory of tokens that image `i` comes from, if it does, and its position there.
    pub(super) fn stored(&self, i: usize) -> Option<(&TokenDir, usize)> {
        self.source.tokens().map(|tokens| (tokens, self.index(i)))
    }

    /// The images at `positions` of this choice, in that order. Panics when one is out of range.
    pub fn pick(&self, positions: impl IntoIterator<Item = usize>) -> Self {
        let list = positions.into_iter().map(|i| self.index(i) as u32).collect();
        Self { source: self.source.clone(), choice: Choice::List(list) }
    }

    /// `n` of the images spread evenly, or all when there are fewer: sources often come sorted by class.
    pub fn spread(&self, n: usize) -> Self {
        let n = n.min(self.len());
        self.pick((0..n).map(|i| i * self.len() / n))
    }

    /// The first `n` images, or all when there are fewer.
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
