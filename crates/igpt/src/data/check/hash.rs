//! What is kept of an image to find its like: a hash of its pixels, two of its look, and a thumbnail for a second look.

use sha2::{Digest, Sha256};

use crate::image::{
    ImageSize, Pixels,
    resize::{Rect, resize},
};

/// Hashes of one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PerceptualHashes {
    /// Of size and pixels: half of their SHA-256.
    pub exact: u128,
    /// Where it grows brighter from left to right, of 8 rows of 9 areas (Krawetz's dHash).
    pub across: u64,
    /// Where it grows brighter from top to bottom, of 8 columns of 9 areas.
    pub down: u64,
    /// Mean brightness.
    pub brightness: u8,
}

/// Levels below which a step in brightness is noise: compression must not turn the bits of even areas.
const STEP: i16 = 3;
/// Side of what hashes and thumbnails are made from.
const SIDE: usize = 32;

impl PerceptualHashes {
    /// Of an image of any size.
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

/// A bit for each step to the next area of each of 8 lines; `at` says where area i of a line lies.
fn brighter(areas: &Pixels, at: impl Fn(usize, usize) -> usize) -> u64 {
    let area = |line, i| i16::from(areas.data[at(line, i)]);
    let bits = (0..64).map(|bit| area(bit / 8, bit % 8 + 1) - area(bit / 8, bit % 8) > STEP);
    bits.fold(0, |hash, bit| hash << 1 | u64::from(bit))
}

/// A small RGB picture.
#[derive(Clone, Debug)]
pub(crate) struct Thumbnail(Pixels);

impl Thumbnail {
    /// Of an image of any size; its proportions are lost.
    pub(crate) fn of(pixels: &Pixels) -> Self {
        Self(scaled(&pixels.with_channels(3), ImageSize::square(SIDE / 2)))
    }

    /// Root mean square difference in levels, if it is so small that the pictures are one: 2 levels and a tenth of the
    /// contrast.
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
