//! Which palette colours can be nearest to any pixel of a small cube of colours, found when first asked for.
//!
//! The 2^24 pixels are cut into cubes of side 8. A colour whose smallest distance to a cube is above the smallest of
//! all largest distances can't be nearest anywhere in it, which leaves a handful. Cubes of side 32 narrow the search
//! for theirs, so that large palettes are not scanned for every small cube.

use std::sync::OnceLock;

use super::colors::{distance, signed};

/// Bits of a byte that name the position within a cube, coarse and fine.
const COARSE: u32 = 5;
const FINE: u32 = 3;

/// A colour and its token.
type Candidate = ([f32; 3], u16);

/// The candidates of each cube.
pub(super) struct Cells {
    all: Vec<Candidate>,
    coarse: Vec<OnceLock<Box<[Candidate]>>>,
    fine: Vec<OnceLock<Box<[Candidate]>>>,
}

impl Cells {
    pub(super) fn new(colors: &[[f32; 3]]) -> Self {
        let cubes = |bits: u32| (0..1 << (3 * (8 - bits))).map(|_| OnceLock::new()).collect();
        let all = colors.iter().enumerate().map(|(i, &color)| (color, i as u16)).collect();
        Self { all, coarse: cubes(COARSE), fine: cubes(FINE) }
    }

    /// The token of a pixel, equal to `Palette::nearest`: candidates stay in the order of their tokens.
    pub(super) fn nearest(&self, pixel: [u8; 3]) -> u16 {
        let fine = self.fine[cube(pixel, FINE)].get_or_init(|| {
            let coarse =
                self.coarse[cube(pixel, COARSE)].get_or_init(|| narrow(&self.all, pixel, COARSE).into_boxed_slice());
            narrow(coarse, pixel, FINE).into_boxed_slice()
        });
        let pixel = pixel.map(signed);
        let mut best = (f32::INFINITY, 0);
        for &(color, token) in fine {
            let d = distance(pixel, color);
            if d < best.0 {
                best = (d, token);
            }
        }
        best.1
    }
}

/// Number of the cube of side `2^bits` that holds `pixel`.
fn cube(pixel: [u8; 3], bits: u32) -> usize {
    pixel.iter().fold(0, |index, &byte| index << (8 - bits) | (byte >> bits) as usize)
}

/// Those of `from` that can be nearest to a pixel in the cube of side `2^bits` around `pixel`.
fn narrow(from: &[Candidate], pixel: [u8; 3], bits: u32) -> Vec<Candidate> {
    let low = pixel.map(|byte| signed(byte >> bits << bits));
    let high = pixel.map(|byte| signed(byte | ((1 << bits) - 1)));
    let nearest_corner = |color: [f32; 3]| [0, 1, 2].map(|c| color[c].clamp(low[c], high[c]));
    let farthest_corner =
        |color: [f32; 3]| [0, 1, 2].map(|c| if 2.0 * color[c] > low[c] + high[c] { low[c] } else { high[c] });
    let bound = from.iter().map(|c| distance(farthest_corner(c.0), c.0)).fold(f32::INFINITY, f32::min);
    // A computed distance is within 4 roundings (2^-22) of the true one; the margin is far more.
    let bound = bound * 1.0001 + 1e-12;
    from.iter().copied().filter(|c| distance(nearest_corner(c.0), c.0) <= bound).collect()
}
