//! Pixels to tokens and back, exactly [`Palette::nearest`] but a table look-up a pixel.
//!
//! Photographs use few of the 2^24 colours and use them again and again, so the table is filled as colours appear:
//! construction costs nothing and the parts in use stay in the cache.

use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

use super::Palette;
use super::cells::Cells;
use crate::data::Pixels;
use crate::model::ImageSize;

/// A palette with its look-up tables; shared between threads by reference.
pub struct Quantizer {
    palette: Palette,
    cells: Cells,
    /// Token + 1 of each pixel value, 0 where it is not known yet. Token 65535 wraps to 0 and is found anew each time.
    table: Vec<AtomicU16>,
    /// Tokens of the grey pixels.
    grey: Vec<u16>,
    /// The colours as bytes.
    bytes: Vec<[u8; 3]>,
}

impl Quantizer {
    /// Makes the tables.
    pub fn new(palette: Palette) -> Self {
        let cells = Cells::new(palette.colors());
        let grey = (0..=255).map(|byte| cells.nearest([byte; 3])).collect();
        let table = (0..1 << 24).map(|_| AtomicU16::new(0)).collect();
        let bytes = (0..palette.n_vocab()).map(|token| palette.bytes(token as u16)).collect();
        Self { palette, cells, table, grey, bytes }
    }

    /// The palette.
    pub fn palette(&self) -> &Palette {
        &self.palette
    }

    /// The token of one RGB pixel.
    #[inline]
    pub fn token(&self, pixel: [u8; 3]) -> u16 {
        let entry = &self.table[(pixel[0] as usize) << 16 | (pixel[1] as usize) << 8 | pixel[2] as usize];
        let known = entry.load(Relaxed);
        if known != 0 {
            return known - 1;
        }
        self.find(entry, pixel)
    }

    #[cold]
    fn find(&self, entry: &AtomicU16, pixel: [u8; 3]) -> u16 {
        let token = self.cells.nearest(pixel);
        entry.store(token.wrapping_add(1), Relaxed);
        token
    }

    /// The tokens of an image in raster order, one a pixel. A grey pixel is red = green = blue. Panics when `out` has
    /// another length.
    pub fn tokens(&self, pixels: &Pixels, out: &mut [u16]) {
        assert_eq!(out.len(), pixels.size.pixels(), "one token a pixel");
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

    /// The image that `tokens` stand for, with the palette's channels. Panics unless there is one token below
    /// `n_vocab` for each pixel.
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
