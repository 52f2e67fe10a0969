//! Images as bytes: size, pixels, resampling, grids and heat maps.
//!
//! ```
//! use igpt::image::{ImageSize, Pixels, grid};
//!
//! let dark = Pixels::new(ImageSize::square(4), 1, vec![20; 16]);
//! let light = Pixels::new(ImageSize::square(4), 1, vec![230; 16]);
//! let picture = grid(&[dark, light], 2, 8); // side by side, eight times as large
//! assert_eq!(picture.size.height, 4 * 8);
//! ```

mod grid;
mod heat;
mod pixels;
pub(crate) mod resize;
mod size;

pub(crate) use grid::{CHECKER, GAP_GREY, checker};
pub use grid::{GAP, grid, mask_after, mask_where, readable_scale};
pub use heat::heat;
pub use pixels::Pixels;
pub(crate) use pixels::{luma, over_white};
pub use resize::Resampling;
pub use size::{ImageSize, PixelRect};
