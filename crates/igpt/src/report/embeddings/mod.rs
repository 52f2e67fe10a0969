//! Files of image embeddings, written batch by batch: `.npy` with a list of the images beside it, `.csv`, `.parquet`.
//!
//! A file appears under its name only when it is complete; an incomplete one leaves nothing.

mod entry;
mod field;
#[cfg(feature = "parquet")]
mod parquet;
mod writer;

pub use entry::EmbeddingEntry;
pub use field::csv_field;
pub use writer::{EMBEDDING_ENDINGS, EmbeddingsWriter};
