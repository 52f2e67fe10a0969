//! A data set as token files: made once by `igpt data tokenize`, mapped into memory when read, so that a set may be
//! larger than memory.
//!
//! A token directory holds `tokens.json` (the manifest: what the tokens are of), `preprocessor_config.json` (the
//! palette) and shards, each a run of images of one split: `train-00000.tokens`, … It is a data set of the same splits,
//! names, labels and damaged images as its source, in the same order, so that training on it is training on the source,
//! bit for bit. Reading order: [`manifest`], `format`, `shard`, [`dir`], [`mod@write`].

pub mod dir;
mod format;
pub mod manifest;
mod shard;
#[cfg(test)]
mod tests;
pub mod write;

use std::path::Path;
use std::sync::Arc;

pub use dir::{FileProblem, TokenDir};
pub use manifest::{Manifest, Parts};
pub use write::{Settings, Written, write};

use super::Dataset;
use crate::Result;

/// Opens a token directory as a data set.
///
/// # Errors
/// As [`TokenDir::open`].
pub(super) fn open(root: &Path) -> Result<Dataset> {
    let tokens = TokenDir::open(root)?;
    let (classes, parts) = (tokens.manifest().classes.clone(), tokens.manifest().images.lengths());
    Ok(Dataset::in_order(root.display().to_string(), classes, Arc::new(tokens), parts))
}
