//! Image sizes and rectangles, in whole pixels.

use crate::{Error, Result};

/// Image size: height and width in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ImageSize {
    /// Height: the number of rows.
    pub height: usize,
    /// Width: the number of columns.
    pub width: usize,
}

/// A rectangle of whole pixels in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelRect {
    /// Number of rows above the rectangle.
    pub top: usize,
    /// Number of columns to the left of the rectangle.
    pub left: usize,
    /// Height and width of the rectangle.
    pub size: ImageSize,
}

impl ImageSize {
    /// Returns the size of a square image with side `n_px`.
    pub fn square(n_px: usize) -> Self {
        Self { height: n_px, width: n_px }
    }

    /// Returns the number of pixels of an image, which is the model's `n_ctx`.
    pub fn pixels(self) -> usize {
        self.height.saturating_mul(self.width)
    }

    /// Checks that a model supports the image size.
    ///
    /// # Errors
    /// When a side is below 8 or above 64 pixels.
    pub fn expect_supported(self) -> Result<()> {
        match [self.height, self.width].iter().all(|side| (8..=64).contains(side)) {
            true => Ok(()),
            false => Err(Error::Invalid(format!("images of {self}: sides of 8 to 64 pixels are supported"))),
        }
    }
}

impl std::fmt::Display for ImageSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}×{}", self.height, self.width)
    }
}
