//! Hashes and thumbnails that find duplicates: a hash of the pixels, two perceptual hashes, a thumbnail.

use sha2::{Digest, Sha256};

use crate::image::{
    ImageSize, Pixels,
    resize::{Rect, resize},
};

/// Hashes of one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PerceptualHashes {
    /// Half of the SHA-256 of size and pixels.
    pub exact: u128,
    /// Perceptual hash: where the image grows brighter from left to right, for 8 rows of 9 areas (Krawetz's dHash).
    pub across: u64,
    /// Perceptual hash: where the image grows brighter from top to bottom, for 8 columns of 9 areas.
    pub down: u64,
    /// Mean brightness.
    pub brightness: u8,
}

/// Steps in brightness up to this many levels are noise: compression must not flip the bits of even areas.
const STEP: i16 = 3;
/// Side of the image that hashes and thumbnails are made from.
const SIDE: usize = 32;

impl PerceptualHashes {
    /// Computes the hashes of an image of any size.
    pub(crate) fn of(pixels: &Pixels) -> Self {
        let mut sha = Sha256::new();
        for n in [pixels.size.height, pixels.size.width, pixels.channels] {
            sha.update((n as u64).to_le_bytes());
        }
        sha.update(&pixels.data);
        let sha = sha.finalize();
        let small = scaled(&pixels.with_channels(1), ImageSize::square(SIDE));
        let across = brighter(&scaled(&small, ImageSize { height: 8, width: 9 }), |line, i| line * 9 + i);
        let down = brighter(&scaled(&small, ImageSize { height: 9, width: 8 }), |line, i| i * 8 + line);
        let sum: usize = small.data.iter().map(|&byte| usize::from(byte)).sum();
        Self {
            exact: u128::from_le_bytes(std::array::from_fn(|i| sha[i])),
            across,
            down,
            brightness: (sum / small.data.len()) as u8,
        }
    }
}

/// Returns a bit per step to the next area of each of 8 lines; `at` is the index of area i of a line.
fn brighter(areas: &Pixels, at: impl Fn(usize, usize) -> usize) -> u64 {
    let area = |line, i| i16::from(areas.data[at(line, i)]);
    let bits = (0..64).map(|bit| area(bit / 8, bit % 8 + 1) - area(bit / 8, bit % 8) > STEP);
    bits.fold(0, |hash, bit| hash << 1 | u64::from(bit))
}

/// A small RGB picture.
#[derive(Clone, Debug)]
pub(crate) struct Thumbnail(Pixels);

impl Thumbnail {
    /// Makes the thumbnail of an image of any size; its proportions are lost.
    pub(crate) fn of(pixels: &Pixels) -> Self {
        Self(scaled(&pixels.with_channels(3), ImageSize::square(SIDE / 2)))
    }

    /// Root mean square difference in levels, if it is so small that the pictures are the same.
    ///
    /// The limit is 2 levels and a tenth of the contrast.
    pub(crate) fn alike(&self, other: &Self) -> Option<f64> {
        let square = |(&a, &b): (&u8, &u8)| (f64::from(a) - f64::from(b)).powi(2);
        let values = self.0.data.len() as f64;
        let difference = (self.0.data.iter().zip(&other.0.data).map(square).sum::<f64>() / values).sqrt();
        let contrast = self.contrast().min(other.contrast());
        (difference <= 2.0 + 0.1 * contrast).then_some(difference)
    }

    /// Standard deviation of the values in levels.
    fn contrast(&self) -> f64 {
        let values = self.0.data.iter().map(|&byte| f64::from(byte));
        let n = self.0.data.len() as f64;
        let mean = values.clone().sum::<f64>() / n;
        (values.map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt()
    }
}

fn scaled(pixels: &Pixels, size: ImageSize) -> Pixels {
    resize(pixels, Rect::whole(pixels.size), size)
}
