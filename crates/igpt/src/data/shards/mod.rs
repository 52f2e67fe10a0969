//! Token directories: a data set as token files, made once by `igpt data tokenize` and mapped into memory when read.
//!
//! A set may therefore be larger than memory. A token directory holds `tokens.json` (the manifest: what was tokenized,
//! and how), `preprocessor_config.json` (the palette) and shards, each a run of images of one split:
//! `train-00000.tokens`, … It is a data set with the same splits, names, labels and damaged images as its source, in the
//! same order. Training on it equals training on the source, bit for bit. Reading order: [`settings`], [`manifest`],
//! `format`, `shard`, [`dir`], `source`, [`mod@write`].

pub(crate) mod dir;
mod format;
pub(crate) mod manifest;
pub(crate) mod settings;
mod shard;
mod source;
#[cfg(test)]
mod tests;
pub(crate) mod write;

pub use dir::{FileProblem, TokenDir};
pub use manifest::{Manifest, SplitCounts};
pub use settings::TokenizeSettings;
pub(super) use source::open;
pub use write::{TokenizeProgress, TokenizeSummary, write_token_dir};
