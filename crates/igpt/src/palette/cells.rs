//! Candidates for the nearest palette colour within small cubes of pixels, and from them the tokens of the cubes.
//!
//! A colour is excluded from a cube if its smallest distance to the cube is above the smallest of all colours' largest
//! distances. This leaves a handful. Cubes of side 32 narrow the search for those of side 8, and these for those of side
//! 4, whose 64 pixels are compared with the remaining colours.

use std::sync::OnceLock;

use super::colors::signed;

/// Bits of a byte that encode the position inside a cube of each kind.
const COARSE: u32 = 5;
const FINE: u32 = 3;
const BLOCK: u32 = 2;

/// Pixels of the cube that [`Cells::fill`] works on.
pub(super) const CUBE: usize = 1 << (3 * FINE);
const BLOCK_PIXELS: usize = 1 << (3 * BLOCK);

/// A colour and its token.
pub(super) type Candidate = ([f32; 3], u16);

/// A palette's colours, and the candidates of each coarse cube, computed on first use.
pub(super) struct Cells {
    all: Vec<Candidate>,
    coarse: Vec<OnceLock<Vec<Candidate>>>,
}

/// Returns all colours of a palette as candidates.
pub(super) fn candidates(colors: &[[f32; 3]]) -> Vec<Candidate> {
    colors.iter().enumerate().map(|(i, &color)| (color, i as u16)).collect()
}

impl Cells {
    pub(super) fn new(colors: &[[f32; 3]]) -> Self {
        Self { all: candidates(colors), coarse: (0..1 << (3 * (8 - COARSE))).map(|_| OnceLock::new()).collect() }
    }

    /// Computes the tokens of the cube of side 8 around `pixel`, equal to `Palette::nearest`, in the order of their
    /// places.
    ///
    /// Candidates stay in the order of their tokens, so that the lowest token wins a tie.
    pub(super) fn fill(&self, pixel: [u8; 3], tokens: &mut [u16; CUBE]) {
        let coarse = self.coarse[place(pixel) >> (3 * COARSE)].get_or_init(|| narrow(&self.all, pixel, COARSE));
        let fine = narrow(coarse, pixel, FINE);
        let (blocks, _) = tokens.as_chunks_mut::<BLOCK_PIXELS>();
        for (i, block) in blocks.iter_mut().enumerate() {
            let corner = [0, 1, 2].map(|c| (pixel[c] >> FINE << FINE) | ((i >> (2 - c) & 1) as u8) << BLOCK);
            nearest_in_block(&narrow(&fine, corner, BLOCK), corner, block);
        }
    }
}

/// Computes the tokens of the block of side 4 at `corner`, blue fastest, with the sums of `colors::distance`.
fn nearest_in_block(candidates: &[Candidate], corner: [u8; 3], tokens: &mut [u16; BLOCK_PIXELS]) {
    if let [(_, token)] = candidates {
        return tokens.fill(*token);
    }
    let axes = corner.map(|byte| [0, 1, 2, 3].map(|i| signed(byte + i)));
    let mut best = [[f32::INFINITY; 4]; BLOCK_PIXELS / 4];
    let mut found = [[0u32; 4]; BLOCK_PIXELS / 4];
    for &(color, token) in candidates {
        let mut squares = [[0.0; 4]; 3];
        for c in 0..3 {
            for i in 0..4 {
                squares[c][i] = (axes[c][i] - color[c]) * (axes[c][i] - color[c]);
            }
        }
        for row in 0..BLOCK_PIXELS / 4 {
            let red_green = squares[0][row / 4] + squares[1][row % 4];
            for i in 0..4 {
                let d = red_green + squares[2][i];
                let closer = d < best[row][i];
                best[row][i] = if closer { d } else { best[row][i] };
                found[row][i] = if closer { u32::from(token) } else { found[row][i] };
            }
        }
    }
    for (token, found) in tokens.iter_mut().zip(found.as_flattened()) {
        *token = *found as u16;
    }
}

/// Returns the candidates of `from` that can be nearest to a pixel in the cube of side `2^bits` around `pixel`.
fn narrow(from: &[Candidate], pixel: [u8; 3], bits: u32) -> Vec<Candidate> {
    let low = pixel.map(|byte| signed(byte >> bits << bits));
    let high = pixel.map(|byte| signed(byte | ((1 << bits) - 1)));
    narrow_to_box(from, low, high)
}

/// Returns the candidates of `from` that can be nearest to a point between the corners `low` and `high`, in order.
pub(super) fn narrow_to_box(from: &[Candidate], low: [f32; 3], high: [f32; 3]) -> Vec<Candidate> {
    let middle = [0, 1, 2].map(|c| 0.5 * (low[c] + high[c]));
    let half = [0, 1, 2].map(|c| 0.5 * (high[c] - low[c]));
    let squared = |color: [f32; 3], sign: f32| {
        let mut sum = 0.0;
        for c in 0..3 {
            let along = (color[c] - middle[c]).abs() + sign * half[c];
            let along = if along > 0.0 { along } else { 0.0 };
            sum += along * along;
        }
        sum
    };
    let bound = from.iter().map(|c| squared(c.0, 1.0)).fold(f32::INFINITY, |a, b| if b < a { b } else { a });
    // The computed values are within a few roundings (2^-22) of the true ones; the margin is far more.
    let bound = bound * 1.0001 + 1e-6;
    from.iter().copied().filter(|c| squared(c.0, -1.0) <= bound).collect()
}

/// Index of a pixel, below 2^24, in a table of all pixels.
///
/// The high six bits of red, green and blue are interleaved (a Morton curve), then the low two of each follow. Every
/// cube of side 4, 8, 16, … is one run of indices, so that similar colours share cache lines and pages.
#[inline(always)]
pub(super) fn place(pixel: [u8; 3]) -> usize {
    PLACES.iter().zip(pixel).fold(0, |place, (table, byte)| place | table[byte as usize] as usize)
}

static PLACES: [[u32; 256]; 3] = {
    let mut tables = [[0; 256]; 3];
    let mut c = 0;
    while c < 3 {
        let mut byte = 0;
        while byte < 256 {
            tables[c][byte] = (byte as u32 & 3) << (4 - 2 * c);
            let mut bit = 2;
            while bit < 8 {
                tables[c][byte] |= (byte as u32 >> bit & 1) << (3 * bit + 2 - c);
                bit += 1;
            }
            byte += 1;
        }
        c += 1;
    }
    tables
};
