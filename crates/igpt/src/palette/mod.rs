//! The palette: k-means over colours, exact nearest colour, and the files it lives in.

mod cells;
mod colors;
mod fit;
mod grey;
mod histogram;
mod kmeans;
mod quantizer;

pub use colors::Palette;
pub use fit::{FitOptions, FitReport, fit_histogram};
pub use histogram::Histogram;
pub use quantizer::Quantizer;
