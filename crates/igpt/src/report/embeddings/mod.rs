//! Features of images as files, written run after run: `.npy` with a list of the images beside it, `.csv`, `.parquet`.
//!
//! A file appears under its name when it is complete, and one that is not leaves nothing.

mod entry;
mod field;
#[cfg(feature = "parquet")]
mod parquet;
mod writer;

pub use entry::EmbeddingEntry;
pub use field::csv_field;
pub use writer::{EMBEDDING_ENDINGS, EmbeddingsWriter};
