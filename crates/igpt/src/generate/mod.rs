//! Drawing images pixel by pixel from a trained model: samples from nothing, completions from the rows above.

pub mod draw;
pub mod run;
pub mod settings;
#[cfg(test)]
pub(crate) mod toy;

pub use draw::Sampler;
pub(crate) use run::good_rows;
pub use run::{Drawing, complete, draw_all, sample};
pub use settings::Settings;
