//! Drawing images pixel by pixel from a trained model: samples from nothing, completions from the rows above or around
//! any hole.

mod candidates;
pub mod draw;
mod fill;
pub mod infill;
pub mod run;
pub mod session;
pub mod settings;
#[cfg(test)]
pub(crate) mod toy;

pub use draw::Sampler;
pub use fill::{Filling, fill};
pub use infill::Infill;
pub use run::{Drawing, complete, draw_all, draw_requests, expect_room, good_rows, sample};
pub use session::{Progress, Request, Session};
pub use settings::Settings;
