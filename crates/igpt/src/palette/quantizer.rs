//! Conversion of pixels to tokens and back, exactly [`Palette::nearest`] at the cost of one table look-up per pixel.
//!
//! Photographs use few of the 2^24 colours and use them again and again. The table is therefore filled as colours
//! appear: construction costs nothing, and the parts in use stay in the cache.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

use super::Palette;
use super::cells::{CUBE, Cells, place};
use crate::image::{ImageSize, Pixels};

/// Palette with look-up tables that convert pixels to tokens and back.
///
/// Threads share it by reference.
pub struct Quantizer {
    palette: Palette,
    cells: Cells,
    /// Token + 1 of each pixel in its place, 0 if not known yet. Token 65535 wraps to 0 and is computed anew each time.
    table: Box<[AtomicU16]>,
    /// Tokens of the grey pixels.
    grey: Vec<u16>,
    /// The palette's colours as bytes.
    bytes: Vec<[u8; 3]>,
}

impl Quantizer {
    /// Creates the quantizer of a palette.
    pub fn new(palette: Palette) -> Self {
        let cells = Cells::new(palette.colors());
        // Zeros that the system hands out page by page: what is not looked up takes no memory.
        let table = bytemuck::zeroed_slice_box(1 << 24);
        let bytes = (0..palette.n_vocab()).map(|token| palette.bytes(token as u16)).collect();
        let mut quantizer = Self { palette, cells, table, grey: Vec::new(), bytes };
        quantizer.grey = (0..=255).map(|byte| quantizer.token([byte; 3])).collect();
        quantizer
    }

    /// Returns the palette of the quantizer.
    pub fn palette(&self) -> &Palette {
        &self.palette
    }

    /// Returns the token of one RGB pixel.
    #[inline]
    pub fn token(&self, pixel: [u8; 3]) -> u16 {
        match self.table[place(pixel)].load(Relaxed) {
            0 => self.find(pixel),
            known => known - 1,
        }
    }

    /// Fills the cube around `pixel` in the table. Threads that do so at the same time write the same values.
    #[cold]
    fn find(&self, pixel: [u8; 3]) -> u16 {
        let mut tokens = [0; CUBE];
        self.cells.fill(pixel, &mut tokens);
        let place = place(pixel);
        let start = place / CUBE * CUBE;
        for (entry, token) in self.table[start..].iter().zip(tokens) {
            entry.store(token.wrapping_add(1), Relaxed);
        }
        tokens[place - start]
    }

    /// Computes the tokens of an image in raster order, one per pixel, into `out`, (T).
    ///
    /// For an RGB palette, a grey pixel is red = green = blue. For a grey palette, an RGB pixel is its luma. Panics if
    /// `out` has another length.
    pub fn tokens(&self, pixels: &Pixels, out: &mut [u16]) {
        assert_eq!(out.len(), pixels.size.pixels(), "one token a pixel");
        let grey = self.palette.channels() == 1;
        let pixels = if grey { pixels.with_channels(1) } else { Cow::Borrowed(pixels) };
        if pixels.channels == 1 {
            for (token, &byte) in out.iter_mut().zip(&pixels.data) {
                *token = self.grey[byte as usize];
            }
        } else {
            let (data, _) = pixels.data.as_chunks::<3>();
            for (token, &pixel) in out.iter_mut().zip(data) {
                *token = self.token(pixel);
            }
        }
    }

    /// Returns the image that `tokens`, (T), stand for, with the palette's channels.
    ///
    /// Panics unless there is one token below `n_vocab` per pixel.
    pub fn pixels(&self, tokens: &[u16], size: ImageSize) -> Pixels {
        let channels = self.palette.channels();
        let data = tokens.iter().flat_map(|&t| self.bytes[t as usize].into_iter().take(channels)).collect();
        Pixels::new(size, channels, data)
    }
}

impl std::fmt::Debug for Quantizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Quantizer").field("palette", &self.palette).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::colors::signed;
    use super::*;
    use crate::rng::{Purpose, Rng};

    /// `n` different colours, the first of them bytes (so that exact hits and ties occur), half of them close together.
    fn palette(n: usize) -> Palette {
        let mut rng = Rng::new(3, Purpose::Palette, 0, 0);
        let mut seen = HashSet::new();
        let mut colors = Vec::new();
        while colors.len() < n {
            let mut color = [0, 1, 2].map(|_| signed(rng.below(256) as u8));
            if colors.len() % 2 == 1 {
                color = color.map(|c| c * 0.2 + 0.01 * rng.uniform() as f32);
            }
            if seen.insert(color.map(f32::to_bits)) {
                colors.push(color);
            }
        }
        Palette::new(colors, 3).unwrap()
    }

    /// Blue's squares for 32 neighbouring blues and each colour: the values, their smallest and their largest.
    type Squares = Vec<([f32; 32], f32, f32)>;

    fn blue_squares(palette: &Palette, first: u8) -> Squares {
        let square = |byte: u8, c: [f32; 3]| (signed(byte) - c[2]) * (signed(byte) - c[2]);
        let of = |&color: &[f32; 3]| {
            let squares = std::array::from_fn(|i| square(first + i as u8, color));
            (squares, squares.iter().copied().fold(f32::MAX, f32::min), squares.iter().copied().fold(0.0, f32::max))
        };
        palette.colors().iter().map(of).collect()
    }

    /// Tokens of 32 pixels with this red and green by the definition, with the sum of red and green shared and
    /// colours left out that can't win: rounding is monotone, so one whose smallest sum is above another's largest
    /// loses to it everywhere.
    fn run(partial: &[f32], blues: &Squares) -> [u16; 32] {
        let bound = partial.iter().zip(blues).map(|(p, b)| p + b.2).fold(f32::INFINITY, f32::min);
        let mut best = [f32::INFINITY; 32];
        let mut tokens = [0; 32];
        for (k, (partial, blues)) in partial.iter().zip(blues).enumerate() {
            if partial + blues.1 <= bound {
                for ((best, token), blue) in best.iter_mut().zip(&mut tokens).zip(&blues.0) {
                    let d = partial + blue;
                    if d < *best {
                        (*best, *token) = (d, k as u16);
                    }
                }
            }
        }
        tokens
    }

    #[test]
    fn quantizer_equals_the_definition_for_all_colours() {
        let quantizer = Quantizer::new(palette(512));
        let palette = quantizer.palette();
        let blues: Vec<Squares> = (0..8).map(|run| blue_squares(palette, 32 * run)).collect();
        let square = |byte, c| (signed(byte) - c) * (signed(byte) - c);
        let check = |reds: std::ops::RangeInclusive<u8>| {
            let mut tokens = vec![0; 1 << 16];
            for red in reds {
                let data = (0..1 << 16).flat_map(|i| [red, (i >> 8) as u8, i as u8]).collect();
                quantizer.tokens(&Pixels::new(ImageSize::square(256), 3, data), &mut tokens);
                for green in 0..=255 {
                    let partial = |c: &[f32; 3]| square(red, c[0]) + square(green, c[1]);
                    let partial: Vec<f32> = palette.colors().iter().map(partial).collect();
                    let expected: Vec<u16> = blues.iter().flat_map(|blues| run(&partial, blues)).collect();
                    assert!(tokens[usize::from(green) * 256..][..256] == expected, "red {red}, green {green}");
                    assert_eq!(expected[77], palette.nearest([red, green, 77]));
                }
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| check(0..=127));
            scope.spawn(|| check(128..=255));
        });
    }

    #[test]
    fn quantizer_equals_the_definition_for_any_palette_size() {
        for (n, samples) in [(2, 20_000), (61, 20_000), (65536, 1_500)] {
            let quantizer = Quantizer::new(palette(n));
            let mut rng = Rng::new(5, Purpose::Palette, 0, n as u64);
            for _ in 0..samples {
                let pixel = [0, 1, 2].map(|_| rng.below(256) as u8);
                assert_eq!(quantizer.token(pixel), quantizer.palette().nearest(pixel), "{n} colours, {pixel:?}");
            }
        }
    }

    #[test]
    fn ties_go_to_the_lowest_token_in_the_table_too() {
        let x = signed(100);
        let tied = vec![[1.0; 3], [x, x + 0.25, x], [x, x - 0.25, x], [x + 0.25, x, x]];
        let quantizer = Quantizer::new(Palette::new(tied, 3).unwrap());
        assert_eq!(quantizer.token([100; 3]), 1);
    }

    #[test]
    fn grey_pixels_and_colour_pixels_agree() {
        let size = ImageSize { height: 1, width: 256 };
        let grey = Pixels::new(size, 1, (0..=255).collect());
        let rgb = Pixels::new(size, 3, (0..=255).flat_map(|x| [x; 3]).collect());
        let greys = Palette::new((0..16).map(|i| [i as f32 / 8.0 - 1.0; 3]).collect(), 1).unwrap();
        for palette in [palette(61), greys] {
            let quantizer = Quantizer::new(palette);
            let [mut a, mut b] = [[0; 256], [0; 256]];
            quantizer.tokens(&grey, &mut a);
            quantizer.tokens(&rgb, &mut b);
            assert_eq!(a, b);
            let shown = quantizer.pixels(&a, size);
            assert_eq!(shown.channels, quantizer.palette().channels());
            assert_eq!(shown.data[..shown.channels], quantizer.palette().bytes(a[0])[..shown.channels]);
        }
    }
}
