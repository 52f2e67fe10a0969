//! A decoded image.

use std::borrow::Cow;

use crate::image::ImageSize;

/// An image as bytes, (height, width, channels) in row-major order; 1 channel is grey, 3 are RGB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    /// Height and width of the image.
    pub size: ImageSize,
    /// Number of channels: 1 for grey, 3 for RGB.
    pub channels: usize,
    /// Bytes of the image, `height * width * channels`.
    pub data: Vec<u8>,
}

impl Pixels {
    /// Creates an image from its bytes; panics unless there are height × width × channels.
    pub fn new(size: ImageSize, channels: usize, data: Vec<u8>) -> Self {
        assert!(channels == 1 || channels == 3, "{channels} channels");
        assert_eq!(data.len(), size.pixels() * channels, "a {size} image of {channels} channels");
        Self { size, channels, data }
    }

    /// Converts the image to 1 or 3 channels.
    ///
    /// Grey is repeated. Colour becomes luma like PIL's mode `L` (ITU-R 601-2).
    pub fn with_channels(&self, channels: usize) -> Cow<'_, Pixels> {
        let data = match (self.channels, channels) {
            (1, 3) => self.data.iter().flat_map(|&v| [v; 3]).collect(),
            (3, 1) => self.data.chunks_exact(3).map(|c| luma([c[0], c[1], c[2]])).collect(),
            _ => return Cow::Borrowed(self),
        };
        Cow::Owned(Self::new(self.size, channels, data))
    }
}

/// Brightness of a colour, with PIL's fixed-point weights.
pub(crate) fn luma([r, g, b]: [u8; 3]) -> u8 {
    ((r as u32 * 19595 + g as u32 * 38470 + b as u32 * 7471 + 0x8000) >> 16) as u8
}

/// Blends a channel value of opacity `alpha` with a white background, rounded.
pub(crate) fn over_white(value: u8, alpha: u8) -> u8 {
    let mixed = value as u32 * alpha as u32 + 255 * (255 - alpha as u32);
    ((mixed + 127) / 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_repeated_and_weighed_as_pil_does() {
        let rgb = Pixels::new(ImageSize { height: 1, width: 3 }, 3, vec![255, 0, 0, 0, 255, 0, 10, 20, 30]);
        assert_eq!(rgb.with_channels(1).data, [76, 150, 18]);
        assert_eq!(rgb.with_channels(1).with_channels(3).data[..3], [76; 3]);
        assert_eq!(*rgb.with_channels(3), rgb);
    }

    #[test]
    fn transparent_is_white_and_opaque_is_itself() {
        assert_eq!([over_white(17, 0), over_white(17, 255), over_white(0, 128)], [255, 17, 127]);
    }
}
