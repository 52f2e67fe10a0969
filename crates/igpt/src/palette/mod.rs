//! The palette: k-means over colours, exact nearest colour, and the files it lives in.

mod cells;
mod colors;
mod quantizer;

pub use colors::Palette;
pub use quantizer::Quantizer;
