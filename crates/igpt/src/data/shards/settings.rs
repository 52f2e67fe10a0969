//! How a data set becomes tokens.

use crate::data::Augment;
use crate::image::ImageSize;

/// How a data set becomes tokens.
#[derive(Clone, Debug)]
pub struct Settings {
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
