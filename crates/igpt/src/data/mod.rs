//! Data sets: image sources, splits, augmentation, and the loader that delivers batches of tokens to the trainer.
//!
//! ```
//! use igpt::data::{Dataset, Split, tokenize};
//! use igpt::image::ImageSize;
//! use igpt::palette::{Palette, Quantizer};
//!
//! # fn main() -> igpt::Result<()> {
//! let emoji = Dataset::open("emoji")?; // or a folder, or the name of a published data set
//! let images = emoji.split(Split::Test)?.take(2);
//! let grey = Palette::new((0..4).map(|i| [i as f32 / 2.0 - 0.75; 3]).collect(), 1)?;
//! let tokens = tokenize(&images, ImageSize::square(8), &Quantizer::new(grey))?;
//! assert_eq!((tokens.images(), tokens.image(0).len()), (2, 64));
//! # Ok(())
//! # }
//! ```

mod augment;
pub(crate) mod batch;
pub mod check;
pub(crate) mod colors;
mod damaged;
pub(crate) mod dataset;
pub(crate) mod fingerprint;
pub(crate) mod loader;
pub(crate) mod masking;
mod memory;
mod open;
pub(crate) mod permutation;
pub(crate) mod preprocess;
pub(crate) mod same_files;
pub(crate) mod shards;
pub(crate) mod source;
pub(crate) mod sources;
pub(crate) mod split;
pub(crate) mod tokens;

pub use augment::Augment;
pub use batch::Batch;
pub use colors::{color_histogram, fit_palette, preprocessed_color_histogram};
pub use damaged::DamagedImage;
pub(crate) use damaged::check_damaged;
pub use dataset::{Dataset, OpenOptions};
pub use fingerprint::Fingerprint;
pub use loader::Loader;
pub use masking::Masking;
pub(crate) use memory::IN_MEMORY;
pub use open::{NAMES, open};
pub use permutation::Permutation;
pub use preprocess::Preprocess;
pub use shards::{
    FileProblem, Manifest, SplitCounts, TokenDir, TokenizeProgress, TokenizeSettings, TokenizeSummary, write_token_dir,
};
pub use source::{Images, Source};
pub use sources::download::{DownloadHook, DownloadProgress};
pub use sources::folder::{image_files, images_of_files};
pub use sources::packed::PackedSource;
pub use split::Split;
pub use tokens::{TokenSet, tokenize, tokenize_tiles, tokenize_unchecked};
