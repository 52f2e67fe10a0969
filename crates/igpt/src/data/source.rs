//! Where images come from, and a choice of them in a given order.

use std::sync::Arc;

use super::Pixels;
use crate::Result;

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

    /// Class of image `i`, an index into [`super::Dataset::classes`].
    fn label(&self, i: usize) -> Option<u32>;

    /// What to call image `i` in messages and tables: a path inside its folder or archive.
    fn name(&self, i: usize) -> String;

    /// Whether `pixels` costs no more than a copy.
    fn in_memory(&self) -> bool;
}

/// Some images of a source in a fixed order; cheap to clone.
#[derive(Clone)]
pub struct Images {
    source: Arc<dyn Source>,
    indices: Arc<[u32]>,
}

impl Images {
    /// The images `indices` of `source`, in that order. Panics when an index is out of range.
    pub fn new(source: Arc<dyn Source>, indices: impl Into<Arc<[u32]>>) -> Self {
        let indices = indices.into();
        assert!(indices.iter().all(|&i| (i as usize) < source.len()), "an index past the {} images", source.len());
        Self { source, indices }
    }

    /// Every image of `source` in its own order.
    pub fn all(source: Arc<dyn Source>) -> Self {
        let indices = (0..source.len() as u32).collect::<Vec<_>>();
        Self::new(source, indices)
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// Channels of every image: 1 grey, 3 RGB.
    pub fn channels(&self) -> usize {
        self.source.channels()
    }

    /// Image `i`, decoded at its own size; an error means that this one image is damaged.
    pub fn pixels(&self, i: usize) -> Result<Pixels> {
        self.source.pixels(self.indices[i] as usize)
    }

    /// Class of image `i`.
    pub fn label(&self, i: usize) -> Option<u32> {
        self.source.label(self.indices[i] as usize)
    }

    /// Name of image `i`.
    pub fn name(&self, i: usize) -> String {
        self.source.name(self.indices[i] as usize)
    }

    /// Whether decoding costs no more than a copy.
    pub fn in_memory(&self) -> bool {
        self.source.in_memory()
    }

    /// Positions in the source, in order.
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// The images at `positions` of this choice, in that order. Panics when one is out of range.
    pub fn pick(&self, positions: impl IntoIterator<Item = usize>) -> Self {
        Self { source: self.source.clone(), indices: positions.into_iter().map(|i| self.indices[i]).collect() }
    }

    /// `n` of the images spread evenly, or all when there are fewer: sources often come sorted by class.
    pub fn spread(&self, n: usize) -> Self {
        let n = n.min(self.len());
        self.pick((0..n).map(|i| i * self.len() / n))
    }

    /// The first `n` images, or all when there are fewer.
    pub fn take(&self, n: usize) -> Self {
        Self { source: self.source.clone(), indices: self.indices[..n.min(self.len())].into() }
    }
}

impl std::fmt::Debug for Images {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} images of {} channels", self.len(), self.channels())
    }
}
