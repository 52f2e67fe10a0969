//! Images as bytes: size, pixels, resampling, grids and heat maps.

mod grid;
mod heat;
mod pixels;
pub(crate) mod resize;
mod size;

pub(crate) use grid::{CHECKER, GAP_GREY, checker};
pub use grid::{GAP, grid, hidden, not_given, readable_scale};
pub use heat::heat;
pub use pixels::Pixels;
pub(crate) use pixels::{luma, over_white};
pub use resize::Resampling;
pub use size::{ImageSize, PixelRect};
