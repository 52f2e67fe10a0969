//! How a data set becomes tokens.

use crate::data::Augment;
use crate::image::ImageSize;
use crate::setters::setters;

/// How a data set becomes tokens.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TokenizeSettings {
    /// What `--data` said, kept to tell one directory from another.
    pub source: String,
    /// Size of the images.
    pub n_px: ImageSize,
    /// How the views of a training image differ from it. The flips of [`Augment::Cifar`] are left to training, where
    /// they are exact and free.
    pub augment: Augment,
    /// Augmented views of each training image, beside the image itself.
    pub views: usize,
    /// Seed of the views: view k is what a run of this seed sees in epoch k.
    pub seed: u64,
    /// Images of a shard; without a number about 32 MiB.
    pub shard_images: Option<usize>,
    /// Threads; 0 is one for each core.
    pub threads: usize,
}

impl TokenizeSettings {
    /// Of the images of `source` at size `n_px`, without augmented views.
    pub fn new(source: impl Into<String>, n_px: ImageSize) -> Self {
        Self { source: source.into(), n_px, augment: Augment::None, views: 0, seed: 0, shard_images: None, threads: 0 }
    }
}

setters!(TokenizeSettings {
    augment: Augment,
    views: usize,
    seed: u64,
    shard_images: Option<usize>,
    threads: usize,
});
