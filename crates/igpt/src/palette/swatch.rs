//! Swatches: pictures of a palette's colours in a readable order.

use super::Palette;
use crate::image::{ImageSize, Pixels};

/// Largest number of colours, squares per row, and side of a square in pixels.
const LAYOUTS: [(usize, usize, usize); 3] = [(256, 16, 24), (2048, 32, 16), (65536, 256, 4)];

/// Number of hues with rows of their own. A colour has no hue if its largest and smallest byte differ by less than
/// `GREY`.
const HUES: usize = 12;
const GREY: u8 = 20;

impl Palette {
    /// Draws the palette as a picture with one square per colour.
    ///
    /// Greys come first, then twelve hues from red on. Each hue begins a row and goes from dark to light. Squares
    /// without a colour are white.
    pub fn swatch(&self) -> Pixels {
        let layout = LAYOUTS.iter().find(|layout| self.n_vocab() <= layout.0).unwrap_or(&LAYOUTS[2]);
        let (columns, side) = (layout.1, layout.2);
        let mut colors: Vec<[u8; 3]> = (0..self.n_vocab()).map(|token| self.bytes(token as u16)).collect();
        colors.sort_by_key(|&color| (hue(color), brightness(color), color));
        let rows: Vec<&[[u8; 3]]> =
            colors.chunk_by(|&a, &b| hue(a) == hue(b)).flat_map(|same| same.chunks(columns)).collect();
        let columns = rows.iter().map(|row| row.len()).max().unwrap_or(1);
        let size = ImageSize { height: rows.len() * side, width: columns * side };
        let mut data = Vec::with_capacity(size.pixels() * 3);
        for row in rows {
            let squares = (0..columns).map(|i| row.get(i).copied().unwrap_or([255; 3]));
            let line: Vec<u8> = squares.flat_map(|color| [color].repeat(side)).flatten().collect();
            data.extend(line.repeat(side));
        }
        Pixels::new(size, 3, data)
    }
}

/// Returns 0 for greys, otherwise the number of the hue on the circle, from 1 for the reds on.
fn hue([r, g, b]: [u8; 3]) -> usize {
    let (high, low) = (r.max(g).max(b), r.min(g).min(b));
    if high - low < GREY {
        return 0;
    }
    let difference = |a: u8, b: u8| (f32::from(a) - f32::from(b)) / f32::from(high - low);
    // Sixths of the circle from red.
    let sixth = if high == r {
        difference(g, b)
    } else if high == g {
        2.0 + difference(b, r)
    } else {
        4.0 + difference(r, g)
    };
    1 + ((sixth / 6.0 * HUES as f32 + 0.5).rem_euclid(HUES as f32) as usize).min(HUES - 1)
}

fn brightness([r, g, b]: [u8; 3]) -> u32 {
    299 * u32::from(r) + 587 * u32::from(g) + 114 * u32::from(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::palette::colors::signed;

    #[test]
    fn hues_go_around_the_circle() {
        let circle = [[255, 0, 0], [255, 255, 0], [0, 255, 0], [0, 255, 255], [0, 0, 255], [255, 0, 255]];
        assert_eq!(circle.map(hue), [1, 3, 5, 7, 9, 11]);
        assert_eq!([hue([255, 0, 5]), hue([9, 9, 9])], [1, 0]);
    }

    #[test]
    fn swatch_shows_every_colour_hue_by_hue() {
        let bytes = [[255, 0, 0], [0, 0, 255], [100, 0, 0], [9, 9, 9], [240, 240, 240]];
        let palette = Palette::new(bytes.map(|c| c.map(signed)).to_vec(), 3).unwrap();
        let swatch = palette.swatch();
        assert_eq!(swatch.size, ImageSize { height: 3 * 24, width: 2 * 24 });
        let corner = |row: usize, column: usize| &swatch.data[(row * 24 * 48 + column * 24) * 3..][..3];
        assert_eq!([corner(0, 0), corner(0, 1)], [[9; 3], [240; 3]]);
        assert_eq!([corner(1, 0), corner(1, 1)], [[100, 0, 0], [255, 0, 0]]);
        assert_eq!([corner(2, 0), corner(2, 1)], [[0, 0, 255], [255, 255, 255]]);
    }
}
