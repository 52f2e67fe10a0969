//! A decoded picture in the form of its format, and its conversion: 8 bits, on white, upright, grey or RGB.

use image::metadata::Orientation;

use super::Problem;
use super::problem::room;
use crate::image::{ImageSize, Pixels, luma, over_white};

/// Meaning of a picture's last sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alpha {
    /// No opacity.
    None,
    /// Opacity; colours are not multiplied by it.
    Straight,
    /// Opacity; colours are multiplied by it.
    #[cfg_attr(not(feature = "tiff"), expect(dead_code, reason = "only TIFF files have it"))]
    Associated,
}

/// Samples of a picture, pixel by pixel, row after row.
pub(super) struct Raw {
    pub(super) size: ImageSize,
    /// 1 (grey) or 3 (RGB), opacity not counted.
    pub(super) channels: usize,
    pub(super) alpha: Alpha,
    /// Whether samples are 16 bits, in the processor's own order, instead of 8.
    pub(super) deep: bool,
    pub(super) data: Vec<u8>,
}

impl Raw {
    /// Converts the picture to 8 bits without opacity, with its own channels; allocates no memory.
    pub(super) fn on_white(mut self) -> Pixels {
        match (self.channels, self.alpha != Alpha::None, self.deep) {
            (_, false, false) => {}
            (1, false, true) => self.lay::<1, 1, true>(),
            (1, true, false) => self.lay::<1, 2, false>(),
            (1, true, true) => self.lay::<1, 2, true>(),
            (_, false, true) => self.lay::<3, 3, true>(),
            (_, true, false) => self.lay::<3, 4, false>(),
            (_, true, true) => self.lay::<3, 4, true>(),
        }
        Pixels::new(self.size, self.channels, self.data)
    }

    /// Converts pixels of S samples to C, in place: writing never overtakes reading.
    fn lay<const C: usize, const S: usize, const DEEP: bool>(&mut self) {
        let width = if DEEP { 2 } else { 1 };
        for i in 0..self.size.pixels() {
            let from = i * S * width;
            let samples: [u16; S] = std::array::from_fn(|s| match DEEP {
                true => u16::from_ne_bytes([self.data[from + 2 * s], self.data[from + 2 * s + 1]]),
                false => self.data[from + s].into(),
            });
            let rounded = |value: u16| if DEEP { ((u32::from(value) + 128) / 257) as u8 } else { value as u8 };
            for c in 0..C {
                self.data[i * C + c] = match self.alpha {
                    Alpha::None => rounded(samples[c]),
                    Alpha::Straight => over_white(rounded(samples[c]), rounded(samples[S - 1])),
                    Alpha::Associated => {
                        let white = if DEEP { u16::MAX } else { 255 };
                        rounded(samples[c].saturating_add(white - samples[S - 1]).min(white))
                    }
                };
            }
        }
        self.data.truncate(self.size.pixels() * C);
    }
}

/// Converts the picture to 1 or 3 channels, like [`Pixels::with_channels`].
pub(super) fn into_channels(mut pixels: Pixels, channels: usize) -> Result<Pixels, Problem> {
    let count = pixels.size.pixels();
    let data = match (pixels.channels, channels) {
        (1, 3) => {
            let mut data = room(3 * count as u64)?;
            data.extend(pixels.data.iter().flat_map(|&v| [v; 3]));
            data
        }
        (3, 1) => {
            for i in 0..count {
                pixels.data[i] = luma([pixels.data[3 * i], pixels.data[3 * i + 1], pixels.data[3 * i + 2]]);
            }
            pixels.data.truncate(count);
            pixels.data
        }
        _ => return Ok(pixels),
    };
    Ok(Pixels::new(pixels.size, channels, data))
}

/// Turns the picture by `orientation`.
pub(super) fn turned(pixels: Pixels, orientation: Orientation) -> Result<Pixels, Problem> {
    let ImageSize { height, width } = pixels.size;
    let (last_row, last_column) = (height - 1, width - 1);
    let turns = orientation.to_exif() > 4;
    let size = if turns { ImageSize { height: width, width: height } } else { pixels.size };
    // Where the pixel at (y, x) of the result comes from.
    let from = |y: usize, x: usize| match orientation {
        Orientation::NoTransforms => (y, x),
        Orientation::FlipHorizontal => (y, last_column - x),
        Orientation::Rotate180 => (last_row - y, last_column - x),
        Orientation::FlipVertical => (last_row - y, x),
        Orientation::Rotate90FlipH => (x, y),
        Orientation::Rotate90 => (last_row - x, y),
        Orientation::Rotate270FlipH => (last_row - x, last_column - y),
        Orientation::Rotate270 => (x, last_column - y),
    };
    if orientation == Orientation::NoTransforms {
        return Ok(pixels);
    }
    let mut data = room(pixels.data.len() as u64)?;
    for y in 0..size.height {
        for x in 0..size.width {
            let (row, column) = from(y, x);
            let at = (row * width + column) * pixels.channels;
            data.extend_from_slice(&pixels.data[at..at + pixels.channels]);
        }
    }
    Ok(Pixels::new(size, pixels.channels, data))
}
