//! Drawing of images from a trained model: samples from nothing, and completions from the rows above or around any
//! hole.
//!
//! ```
//! use igpt::device::{self, EngineOptions, Precision};
//! use igpt::generate::{SamplingSettings, sample};
//! use igpt::model::ModelDir;
//!
//! # fn main() -> igpt::Result<()> {
//! let model = ModelDir::bundled()?;
//! let engine = device::open(&model.config, &model.weights, &EngineOptions::new(Precision::F32))?;
//! let settings = SamplingSettings::default().seed(1).top_k(20);
//! let tokens = sample(&*engine, 1, 0, &settings, 0, &mut |_, _| ())?;
//! assert_eq!(tokens[0].len(), model.config.n_ctx());
//! # Ok(())
//! # }
//! ```

mod candidates;
pub(crate) mod draw;
mod fill;
pub(crate) mod infill;
pub(crate) mod run;
pub(crate) mod session;
pub(crate) mod settings;
#[cfg(test)]
pub(crate) mod toy;

pub use draw::Sampler;
pub use fill::{FillSettings, fill};
pub use infill::{FillRound, Infill};
pub use run::{ImageRequest, complete, default_rows, draw_all, draw_requests, expect_room, sample};
pub use session::{GenerationProgress, GenerationRequest, GenerationSession};
pub use settings::SamplingSettings;
