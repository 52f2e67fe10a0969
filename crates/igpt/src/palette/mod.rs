//! Palettes of colours: fitting by k-means, exact nearest colours (tokens), and palette files.

mod cells;
mod colors;
mod distortion;
mod files;
mod fit;
mod grey;
mod histogram;
mod kmeans;
mod npy;
mod preprocessor;
mod quantizer;
mod swatch;

pub use colors::Palette;
pub use distortion::Distortion;
pub use fit::{PaletteFitOptions, PaletteFitReport, fit};
pub use histogram::ColorHistogram;
pub(crate) use histogram::Counter;
pub use npy::ColorScale;
pub use quantizer::Quantizer;
