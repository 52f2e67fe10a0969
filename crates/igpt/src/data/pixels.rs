//! One decoded image.

use crate::model::ImageSize;

/// An image as bytes, (height, width, channels) in row-major order; 1 channel is grey, 3 are RGB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    /// Height and width.
    pub size: ImageSize,
    /// 1 or 3.
    pub channels: usize,
    /// `height * width * channels` bytes.
    pub data: Vec<u8>,
}

impl Pixels {
    /// Wraps `data`. Panics when its length is not height × width × channels.
    pub fn new(size: ImageSize, channels: usize, data: Vec<u8>) -> Self {
        assert!(channels == 1 || channels == 3, "{channels} channels");
        assert_eq!(data.len(), size.pixels() * channels, "a {size} image of {channels} channels");
        Self { size, channels, data }
    }
}
