//! Generative pretraining from pixels (Chen et al., ICML 2020): a GPT-2-like transformer on palette tokens of images.
//!
//! The library turns images into palette tokens, trains the transformer on the CPU to predict the next pixel, and uses
//! the trained model. [`Pretrain`] trains on a data set and returns a [`Model`]. [`Finetune`] turns a model into a
//! classifier. A [`Model`] samples, completes and scores images, computes features, classifies, and detects anomalies.
//!
//! ```
//! use igpt::data::Dataset;
//! use igpt::formats::png;
//! use igpt::generate::SamplingSettings;
//! use igpt::{Pretrain, image};
//!
//! # fn main() -> igpt::Result<()> {
//! # let directory = tempfile::tempdir().unwrap();
//! # let run = directory.path().join("run");
//! // The embedded emoji; Dataset::from_images takes your own, Dataset::open a folder.
//! let emoji = Dataset::open("emoji")?;
//! // A few steps of a small network, for a test of a second. run() trains without a directory.
//! let pretrain = Pretrain::new().dataset(emoji).n_px(8).colors(16).steps(3).set("train.batch=4")?;
//! # let pretrain = pretrain.set("train.eval_images=8")?.set("train.sample_images=0")?;
//! pretrain.run_in(&run)?;
//!
//! let mut model = igpt::Model::open(&run)?;
//! let samples = model.sample(4, &SamplingSettings::default().seed(1))?;
//! png::save(run.join("samples.png"), &image::grid(&samples, 2, 8), &png::TextChunks::new("four emoji"))?;
//! # Ok(())
//! # }
//! ```
//!
//! `examples/` has five short programs. Below this top layer, data flows one way: [`data`] (images) → [`palette`]
//! (tokens) → [`train`] (batches through an engine, see [`device`]) → a model directory in Hugging Face's ImageGPT
//! layout → [`generate`] and [`evaluate`].

mod api;
mod checksum;
pub mod data;
pub mod device;
mod error;
pub mod evaluate;
#[doc(hidden)] // for the program and the server
pub mod files;
pub mod formats;
pub mod generate;
pub mod image;
pub mod inspect;
#[doc(hidden)] // for the program and the server
pub mod machine;
pub mod model;
pub mod palette;
pub mod probe;
pub mod ranks;
#[cfg(feature = "report")]
pub mod report;
pub mod rng;
mod setters;
pub mod stats;
#[cfg(feature = "testing")]
pub mod testing;
#[doc(hidden)] // for the program and the server
pub mod text;
pub mod train;

pub use api::{Features, Finetune, Model, Pretrain, Prompt};
pub use error::{Error, Result};
