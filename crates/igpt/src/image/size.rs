//! Height and width.

use crate::{Error, Result};

/// Height and width of the images a model reads, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ImageSize {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// A rectangle of whole pixels of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelRect {
    /// Rows above it.
    pub top: usize,
    /// Columns to its left.
    pub left: usize,
    /// Its own.
    pub size: ImageSize,
}

impl ImageSize {
    /// A square of side `n_px`.
    pub fn square(n_px: usize) -> Self {
        Self { height: n_px, width: n_px }
    }

    /// Pixels of an image, which is the model's `n_ctx`.
    pub fn pixels(self) -> usize {
        self.height.saturating_mul(self.width)
    }

    /// Refuses a size that no model's images have.
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
