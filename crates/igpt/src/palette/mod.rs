//! Palettes of colours: fitting by k-means, exact nearest colours (tokens), and palette files.
//!
//! ```
//! use igpt::palette::{ColorHistogram, Distortion, PaletteFitOptions, Quantizer, fit};
//!
//! # fn main() -> igpt::Result<()> {
//! let pixels = (0..1000u32).map(|i| [(i % 256) as u8, (i / 4) as u8, 90]);
//! let histogram = ColorHistogram::of(3, pixels);
//! let (palette, _) = fit(&histogram, &PaletteFitOptions::default().colors(16))?;
//! let quantizer = Quantizer::new(palette);
//! assert!(quantizer.token([10, 20, 90]) < 16);
//! assert!(Distortion::of(&histogram, &quantizer).psnr_db > 20.0);
//! # Ok(())
//! # }
//! ```

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
