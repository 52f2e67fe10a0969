//! Images in: sources, splits, augmentation, and the loader that hands batches of tokens to the trainer.

pub mod batch;
mod bundle;
pub mod catalog;
pub mod check;
pub mod cifar;
pub mod dataset;
pub mod decode;
pub mod download;
pub mod emoji;
pub mod folder;
pub mod idx;
pub mod loader;
pub mod locate;
pub mod masking;
pub mod packed;
pub mod permutation;
pub mod pixels;
pub mod preprocess;
pub mod resize;
pub mod shards;
pub mod source;
pub mod split;
pub mod stl10;
pub mod tokens;

pub use batch::Batch;
pub use dataset::{Dataset, OpenOptions, open};
pub use loader::Loader;
pub use masking::{MASK_PROB, Masking};
pub use permutation::Permutation;
pub use pixels::Pixels;
pub use preprocess::{Augment, Preprocess};
pub use shards::TokenDir;
pub use source::{Images, Source};
pub use split::Split;
pub use tokens::{Damaged, TokenSet, tokenize};
pub(crate) use tokens::{check_damaged, tokenize_unchecked};
