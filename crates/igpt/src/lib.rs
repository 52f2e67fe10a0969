//! Generative pretraining from pixels (Chen et al., ICML 2020) as a library: images to palette tokens, a
//! GPT-2-like transformer trained on the CPU to predict the next pixel, and what it is good for afterwards.
//!
//! Data flows one way: [`data`] (images) → [`palette`] (tokens) → [`train`] (batches through an engine, see
//! [`device`]) → a model directory in Hugging Face's ImageGPT layout → [`generate`] and [`evaluate`].
//!
//! # Quick start
//!
//! Fit a palette on the embedded emoji, pretrain, draw, save. The sizes here are for a test of a second; a recipe that
//! learns something is in `configs/`.
//!
//! ```
//! use igpt::formats::png;
//! use igpt::image::{self, ImageSize};
//! use igpt::{device, generate, model, palette, ranks, train};
//! use std::sync::atomic::AtomicBool;
//!
//! # fn main() -> igpt::Result<()> {
//! # let directory = tempfile::tempdir().unwrap();
//! # let run = directory.path().join("run");
//! let mut config = train::RunConfig::default(); // --data emoji --preset nano --recipe paper
//! config.model.n_px = Some(ImageSize::square(8));
//! config.palette.colors = Some(16);
//! config.train.batch = 4;
//! config.train.steps = Some(3);
//! # config.train.eval_images = Some(8);
//! # config.train.sample_images = Some(0);
//!
//! // Images, palette, tokens, training, checkpoints, and the model directory at the end.
//! let stop = AtomicBool::new(false);
//! let (mut ranks, mut quiet) = (ranks::Collective::solo(), |_: train::Event<'_>| ());
//! let context = &mut train::Context { ranks: &mut ranks, observer: &mut quiet, stop: &stop };
//! let summary = train::pretrain(&config, &run, train::Start::New, context)?;
//!
//! // Open the model again and draw four images.
//! let model = model::ModelDir::open(&summary.model)?;
//! let engine = device::open(&model.config, &model.weights, &device::Options::new(device::Precision::Bf16))?;
//! let settings = generate::Settings { seed: 1, ..Default::default() };
//! let images = generate::sample(&*engine, 4, 0, &settings, 0, &mut |_, _| ())?;
//!
//! let quantizer = palette::Quantizer::new(model.palette);
//! let pixels: Vec<_> = images.iter().map(|tokens| quantizer.pixels(tokens, model.config.n_px)).collect();
//! let text = png::Text::new("four emoji").with_all(settings.lines());
//! png::save(run.join("samples.png"), &image::grid(&pixels, 2, 8), &text)?;
//! # Ok(())
//! # }
//! ```

mod checksum;
pub mod data;
pub mod device;
pub mod error;
pub mod evaluate;
pub mod files;
pub mod formats;
pub mod generate;
pub mod image;
pub mod inspect;
pub mod machine;
pub mod model;
pub mod palette;
pub mod probe;
pub mod ranks;
#[cfg(feature = "report")]
pub mod report;
pub mod rng;
pub mod stats;
#[cfg(feature = "testing")]
pub mod testing;
pub mod text;
pub mod train;

pub use error::{Error, Result};
