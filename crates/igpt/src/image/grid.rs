//! Grids: many images of one size as one picture.

use crate::image::{ImageSize, Pixels};

/// Width of the gaps between the images of a grid, in pixels of the finished picture.
pub const GAP: usize = 2;

/// Brightness of the gaps: visible next to white and to black images.
pub(crate) const GAP_GREY: u8 = 0xB4;

/// The two greys of the checkerboard that represents unknown pixels.
pub(crate) const CHECKER: [u8; 2] = [0xE2, 0xCC];

/// Lays images out as a grid with `columns` images per row.
///
/// Each image is enlarged `scale` times by repeating pixels, so that colours stay exact. [`GAP`] grey pixels separate
/// neighbours, and an incomplete last row is filled with the gap's grey. Panics unless all cells have the same size and
/// number of channels.
pub fn grid(cells: &[Pixels], columns: usize, scale: usize) -> Pixels {
    assert!(!cells.is_empty() && columns > 0 && scale > 0, "{} cells, {columns} columns", cells.len());
    let (size, channels) = (cells[0].size, cells[0].channels);
    let columns = columns.min(cells.len());
    let rows = cells.len().div_ceil(columns);
    let pitch = (size.height * scale + GAP, size.width * scale + GAP);
    let whole = ImageSize { height: rows * pitch.0 - GAP, width: columns * pitch.1 - GAP };
    let mut data = vec![GAP_GREY; whole.pixels() * channels];
    for (i, cell) in cells.iter().enumerate() {
        assert!(cell.size == size && cell.channels == channels, "cells of a grid are alike");
        let (top, left) = (i / columns * pitch.0, i % columns * pitch.1);
        for y in 0..size.height * scale {
            let from = &cell.data[y / scale * size.width * channels..][..size.width * channels];
            let to = &mut data[((top + y) * whole.width + left) * channels..][..size.width * scale * channels];
            for (to, from) in to.chunks_exact_mut(scale * channels).zip(from.chunks_exact(channels)) {
                to.chunks_exact_mut(channels).for_each(|pixel| pixel.copy_from_slice(from));
            }
        }
    }
    Pixels::new(whole, channels, data)
}

/// Shows a prompt: the first `given` pixels of an image in raster order, and a grey checkerboard for the others.
pub fn mask_after(image: &Pixels, given: usize) -> Pixels {
    mask_where(image, |pixel| pixel >= given)
}

/// Replaces the pixels of an image for which `mask_where` is true (by raster index) with a grey checkerboard.
pub fn mask_where(image: &Pixels, hidden: impl Fn(usize) -> bool) -> Pixels {
    let mut shown = image.clone();
    for (i, pixel) in shown.data.chunks_exact_mut(image.channels).enumerate().filter(|(i, _)| hidden(*i)) {
        pixel.fill(checker(i / image.size.width, i % image.size.width));
    }
    shown
}

pub(crate) fn checker(y: usize, x: usize) -> u8 {
    CHECKER[(y + x) % 2]
}

/// Returns the enlargement that brings images of `size` to about 128 pixels.
pub fn readable_scale(size: ImageSize) -> usize {
    (128 / size.height.max(size.width)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(first: u8) -> Pixels {
        Pixels::new(ImageSize { height: 2, width: 3 }, 3, (first..first + 18).collect())
    }

    #[test]
    fn every_pixel_of_every_cell_stands_where_it_should() {
        let cells = [image(0), image(40), image(80)];
        let (columns, scale) = (2, 3);
        let picture = grid(&cells, columns, scale);
        assert_eq!(picture.size, ImageSize { height: 2 * 6 + GAP, width: 2 * 9 + GAP });
        let mut seen = 0;
        for y in 0..picture.size.height {
            for x in 0..picture.size.width {
                let pixel = &picture.data[(y * picture.size.width + x) * 3..][..3];
                let (row, dy, col, dx) = (y / (6 + GAP), y % (6 + GAP), x / (9 + GAP), x % (9 + GAP));
                match cells.get(row * columns + col) {
                    Some(cell) if dy < 6 && dx < 9 => {
                        assert_eq!(pixel, &cell.data[(dy / scale * 3 + dx / scale) * 3..][..3]);
                        seen += 1;
                    }
                    _ => assert_eq!(pixel, [GAP_GREY; 3]),
                }
            }
        }
        assert_eq!(seen, 3 * 54);
    }

    #[test]
    fn pixels_not_given_are_grey_and_the_given_ones_are_kept() {
        let shown = mask_after(&image(0), 4);
        assert_eq!(shown.data[..12], image(0).data[..12]);
        assert!(shown.data[12..].iter().all(|v| CHECKER.contains(v)));
    }
}
