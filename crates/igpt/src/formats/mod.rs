//! File formats, each in a module of its own: pictures, arrays, and tensors of other programs.
//!
//! Files from elsewhere are not trusted: sizes are checked before memory is allocated, and pickles run nothing.
//!
//! ```
//! use igpt::formats::{decode, png};
//! use igpt::image::{ImageSize, Pixels};
//!
//! # fn main() -> igpt::Result<()> {
//! let image = Pixels::new(ImageSize::square(2), 3, vec![0, 50, 100, 150, 200, 250, 10, 60, 110, 160, 210, 255]);
//! let bytes = png::encode(&image, &png::TextChunks::new("four pixels"));
//! assert_eq!(decode::from_bytes(&bytes, 3, 4)?, image);
//! # Ok(())
//! # }
//! ```

pub mod decode;
pub mod gif;
pub(crate) mod lfs;
pub mod npy;
#[cfg(feature = "archives")]
mod pickle;
pub mod png;
pub(crate) mod safetensors;
pub(crate) mod stored;
#[cfg(feature = "archives")]
pub(crate) mod torch_bin;
#[cfg(not(feature = "archives"))]
#[path = "torch_bin_absent.rs"]
pub(crate) mod torch_bin;
