//! Images in: sources, splits, augmentation, and the loader that hands batches of tokens to the trainer.

mod augment;
pub mod batch;
pub mod check;
pub mod colors;
mod damaged;
pub mod dataset;
pub mod fingerprint;
pub mod loader;
pub mod masking;
mod memory;
mod open;
pub mod permutation;
pub mod preprocess;
pub mod same_files;
pub mod shards;
pub mod source;
pub mod sources;
pub mod split;
pub mod tokens;

pub use augment::Augment;
pub use batch::Batch;
pub use damaged::Damaged;
pub(crate) use damaged::check_damaged;
pub use dataset::{Dataset, OpenOptions};
pub use fingerprint::Fingerprint;
pub use loader::Loader;
pub use masking::Masking;
pub use open::{NAMES, open};
pub use permutation::Permutation;
pub use preprocess::Preprocess;
pub use shards::TokenDir;
pub use source::{Images, Source};
pub use split::Split;
pub use tokens::{TokenSet, tokenize, tokenize_tiles, tokenize_unchecked};
