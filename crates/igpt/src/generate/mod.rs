//! Drawing of images from a trained model: samples from nothing, and completions from the rows above or around any
//! hole.

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
pub use run::{ImageRequest, complete, draw_all, draw_requests, expect_room, good_rows, sample};
pub use session::{GenerationProgress, GenerationRequest, GenerationSession};
pub use settings::SamplingSettings;
