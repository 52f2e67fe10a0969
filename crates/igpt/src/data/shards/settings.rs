//! Settings of the tokenization of a data set.

use crate::data::Augment;
use crate::image::ImageSize;
use crate::setters::setters;

/// Settings of the tokenization of a data set: image size, stored views, shards and threads.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TokenizeSettings {
    /// Name of the data set as given to `--data`, kept to distinguish directories.
    pub source: String,
    /// Size of the tokenized images.
    pub n_px: ImageSize,
    /// Augmentation of the stored views of training images.
    ///
    /// The flips of [`Augment::Cifar`] are left to training, where they are exact and free.
    pub augment: Augment,
    /// Number of augmented views stored per training image, in addition to the image itself.
    pub views: usize,
    /// Seed of the views: view k is what a run with this seed sees in epoch k.
    pub seed: u64,
    /// Images per shard; by default about 32 MiB.
    pub shard_images: Option<usize>,
    /// Number of threads; 0 means one per core.
    pub threads: usize,
}

impl TokenizeSettings {
    /// Creates settings for the images of `source` at size `n_px`, without augmented views.
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
