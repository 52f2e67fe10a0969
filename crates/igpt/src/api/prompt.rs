//! The known pixels that a completion starts from.

use crate::image::ImageSize;
use crate::{Error, Result};

/// Known pixels that a completion starts from; the model draws all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Prompt<'a> {
    /// The first rows of the image; the value is their number.
    Rows(usize),
    /// The pixels whose mask entry is true, (height · width) in raster order.
    Mask(&'a [bool]),
}

impl Prompt<'_> {
    /// Returns whether each pixel of an image of `size` is known.
    ///
    /// # Errors
    /// When no pixel remains to be drawn, or a mask has another size.
    pub(super) fn pixels(self, size: ImageSize) -> Result<Vec<bool>> {
        let given: Vec<bool> = match self {
            Self::Rows(rows) => (0..size.pixels()).map(|pixel| pixel < rows * size.width).collect(),
            Self::Mask(mask) if mask.len() == size.pixels() => mask.to_vec(),
            Self::Mask(mask) => {
                let (pixels, own) = (mask.len(), size.pixels());
                return Err(Error::Mismatch(format!(
                    "a mask of {pixels} pixels, but the model's images have {own} ({size})"
                )));
            }
        };
        match given.iter().all(|given| *given) {
            true => Err(Error::Invalid("every pixel is given: leave some to be drawn".into())),
            false => Ok(given),
        }
    }
}
