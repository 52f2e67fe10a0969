//! Generative pretraining from pixels (Chen et al., ICML 2020) as a library: images to palette tokens, a
//! GPT-2-like transformer trained on the CPU to predict the next pixel, and what it is good for afterwards.
//!
//! Data flows one way: [`data`] (images) → [`palette`] (tokens) → [`train`] (batches through an engine, see
//! [`model`] and [`cpu`]) → a model directory in Hugging Face's ImageGPT layout → [`generate`] and [`evaluate`].

pub mod cpu;
pub mod data;
pub mod error;
pub mod evaluate;
pub mod generate;
pub mod machine;
pub mod model;
pub mod palette;
pub mod report;
pub mod rng;
pub mod train;

pub use error::{Error, Result};
