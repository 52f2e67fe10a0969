//! A picture as a model sees it: all of it in one image of the model's size, or tile by tile at its own resolution.

use serde::{Deserialize, Serialize};

use super::map::{Map, Window};
use super::within::symbol;
use crate::checksum::sha256_of;
use crate::data::{Damaged, Images, Preprocess};
use crate::image::{ImageSize, Pixels};
use crate::palette::Quantizer;
use crate::{Error, Result};

/// How a picture is brought to a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum View {
    /// The largest centred crop of the model's proportions, scaled to the model's size, as everywhere else in igpt.
    #[default]
    Whole,
    /// Crops of the model's size at the picture's own resolution, side by side, the last ones moved inwards to the border: for
    /// a model that was trained on such crops.
    Tiles,
}

/// A picture ready for the engine: the tokens of its tiles, and where they lie.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The picture's own size.
    pub own: ImageSize,
    /// What of it the maps show.
    pub place: Window,
    /// Size of its maps.
    size: ImageSize,
    n_px: ImageSize,
    /// Rows above each tile and columns to its left, in the maps.
    corners: Vec<[usize; 2]>,
    tokens: Vec<u16>,
    /// The exact value of each pixel of the maps, as `within` numbers it.
    details: Vec<u32>,
    key: u64,
}

impl Picture {
    /// A picture of any size for a model of size `n_px`.
    ///
    /// # Errors
    /// When it is smaller than a tile, or would have to be scaled where the palette forbids it.
    pub fn new(pixels: &Pixels, view: View, n_px: ImageSize, quantizer: &Quantizer) -> Result<Self> {
        let own = pixels.size;
        let pixels = &*pixels.with_channels(quantizer.palette().channels());
        let key = key(&[&pixels.size.width.to_le_bytes(), &pixels.data]);
        let details = |pixels: &Pixels, tokens: &[u16]| {
            let pixels = pixels.data.chunks_exact(pixels.channels);
            pixels.zip(tokens).map(|(pixel, token)| symbol(quantizer, *token, pixel)).collect()
        };
        if view == View::Whole {
            let scaled = Preprocess::of(quantizer.palette(), n_px).evaluation(pixels)?;
            let mut tokens = vec![0; n_px.pixels()];
            quantizer.tokens(&scaled, &mut tokens);
            let (place, details) = (crop(own, n_px), details(&scaled, &tokens));
            return Ok(Self { own, place, size: n_px, n_px, corners: vec![[0, 0]], tokens, details, key });
        }
        if own.height < n_px.height || own.width < n_px.width {
            return Err(Error::Mismatch(format!("a picture of {own} is smaller than the model's tiles of {n_px}")));
        }
        let [down, across] = [(own.height, n_px.height), (own.width, n_px.width)].map(|(a, b)| starts(a, b));
        let corners: Vec<[usize; 2]> =
            down.iter().flat_map(|&top| across.iter().map(move |&left| [top, left])).collect();
        // Each pixel is quantised once, however many tiles it is in.
        let mut all = vec![0; own.pixels()];
        quantizer.tokens(pixels, &mut all);
        let mut tokens = Vec::with_capacity(corners.len() * n_px.pixels());
        for [top, left] in &corners {
            let rows = all.chunks_exact(own.width).skip(*top).take(n_px.height);
            rows.for_each(|row| tokens.extend_from_slice(&row[*left..*left + n_px.width]));
        }
        let place = Window { top: 0, left: 0, size: own };
        let details = details(pixels, &all);
        Ok(Self { own, place, size: own, n_px, corners, tokens, details, key })
    }

    /// Tiles of a picture of size `own`; 0 of one that is smaller than a tile.
    pub fn count(own: ImageSize, view: View, n_px: ImageSize) -> usize {
        let along = |length: usize, tile: usize| length.checked_sub(tile).map_or(0, |_| starts(length, tile).len());
        match view {
            View::Whole => 1,
            View::Tiles => along(own.height, n_px.height) * along(own.width, n_px.width),
        }
    }

    /// An image of the model's size that is tokens already, each pixel of its colour's exact value.
    pub fn of_tokens(tokens: Vec<u16>, n_px: ImageSize, quantizer: &Quantizer) -> Self {
        let palette = quantizer.palette();
        let exact = |token: &u16| symbol(quantizer, *token, &palette.bytes(*token)[..palette.channels()]);
        let details = tokens.iter().map(exact).collect();
        let key = key(&[bytemuck::cast_slice(&tokens)]);
        let place = Window { top: 0, left: 0, size: n_px };
        Self { own: n_px, place, size: n_px, n_px, corners: vec![[0, 0]], tokens, details, key }
    }

    /// What it is known by again: 64 bits of the SHA-256 of its pixels, in the palette's channels.
    pub fn key(&self) -> u64 {
        self.key
    }

    /// The exact value of each pixel of the maps, as numbered for the fit.
    pub(super) fn details(&self) -> &[u32] {
        &self.details
    }

    /// A map of these values, one for each pixel.
    pub(super) fn map(&self, values: Vec<f64>) -> Map {
        Map::new(self.size, values)
    }

    /// The model's size.
    pub fn n_px(&self) -> ImageSize {
        self.n_px
    }

    /// Number of tiles: 1 of a whole picture.
    pub fn tiles(&self) -> usize {
        self.corners.len()
    }

    /// Tokens of all tiles, one after the other, (tiles, T).
    pub fn tokens(&self) -> &[u16] {
        &self.tokens
    }

    /// Tokens of all tiles in runs that an engine takes at once.
    pub fn batches(&self) -> impl Iterator<Item = &[u16]> {
        self.tokens.chunks(BATCH * self.n_px.pixels())
    }

    /// One map of the whole picture, of `values` (tiles, T): where tiles overlap, the mean.
    pub fn merge(&self, values: &[f64]) -> Map {
        let (width, tile) = (self.size.width, self.n_px);
        let mut sums = vec![0.0; self.size.pixels()];
        let mut counts = vec![0.0; self.size.pixels()];
        for (values, [top, left]) in values.chunks_exact(tile.pixels()).zip(&self.corners) {
            for (t, value) in values.iter().enumerate() {
                let at = (top + t / tile.width) * width + left + t % tile.width;
                sums[at] += value;
                counts[at] += 1.0;
            }
        }
        Map::new(self.size, sums.iter().zip(&counts).map(|(sum, count)| sum / count).collect())
    }
}

/// Tiles handed to the engine at once; it cuts them further as its memory asks.
pub(super) const BATCH: usize = 64;

/// Pictures decoded at once: tiles of large ones are many.
const RUN: [usize; 2] = [64, 4];

/// A picture among others.
#[derive(Clone, Debug)]
pub struct Named {
    /// Its place among them, from 0.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// Itself.
    pub picture: Picture,
}

/// Hands runs of `images` to `take`, in order, ready for a model of size `n_px`. Gives those that could not be read, which
/// are in no run.
///
/// # Errors
/// When `take` fails.
pub(super) fn each_run(
    images: &Images,
    (view, n_px): (View, ImageSize),
    quantizer: &Quantizer,
    take: &mut dyn FnMut(Vec<Named>) -> Result<()>,
) -> Result<Vec<Damaged>> {
    let run = RUN[usize::from(view == View::Tiles)];
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    // The palette's, not those that all of the images together are taken for: a picture's score is its own.
    let channels = quantizer.palette().channels();
    let mut damaged = Vec::new();
    for first in (0..images.len()).step_by(run) {
        let last = (first + run).min(images.len());
        let share = (last - first).div_ceil(threads).max(1);
        let read = |index: usize| {
            let picture = images.pixels_in(index, channels).and_then(|pixels| Picture::new(&pixels, view, n_px, quantizer));
            let name = images.name(index);
            match picture {
                Ok(picture) => Ok(Named { index, name, picture }),
                Err(error) => Err(Damaged::new(name, &error)),
            }
        };
        let found: Vec<Result<Named, Damaged>> = std::thread::scope(|scope| {
            let parts = (first..last).step_by(share).map(|start| {
                let read = &read;
                scope.spawn(move || (start..(start + share).min(last)).map(read).collect::<Vec<_>>())
            });
            let parts: Vec<_> = parts.collect();
            parts.into_iter().flat_map(|part| part.join().unwrap_or_else(|e| std::panic::resume_unwind(e))).collect()
        });
        let mut whole = Vec::with_capacity(found.len());
        for picture in found {
            match picture {
                Ok(picture) => whole.push(picture),
                Err(problem) => damaged.push(problem),
            }
        }
        take(whole)?;
    }
    Ok(damaged)
}

fn key(parts: &[&[u8]]) -> u64 {
    u64::from_le_bytes(sha256_of(parts)[..8].try_into().expect("SHA-256 has 32 bytes"))
}

/// Where tiles of `tile` begin on an axis of `length`: side by side, the last one at the end.
fn starts(length: usize, tile: usize) -> Vec<usize> {
    let last = length - tile;
    (0..last).step_by(tile).chain([last]).collect()
}

/// The largest centred crop of `n_px`'s proportions, which [`Preprocess::evaluation`] scales.
fn crop(own: ImageSize, n_px: ImageSize) -> Window {
    let scaled = |side: usize, by: usize, over: usize| ((side * by + over / 2) / over).max(1);
    let mut size = own;
    if own.width * n_px.height >= own.height * n_px.width {
        size.width = scaled(own.height, n_px.width, n_px.height).min(own.width);
    } else {
        size.height = scaled(own.width, n_px.height, n_px.width).min(own.height);
    }
    Window { top: (own.height - size.height) / 2, left: (own.width - size.width) / 2, size }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::palette::Palette;

    /// A palette of 16 greys.
    fn quantizer() -> Quantizer {
        Quantizer::new(Palette::new((0..16).map(|i| [i as f32 / 7.5 - 1.0; 3]).collect(), 1).unwrap())
    }

    fn grey(height: usize, width: usize, value: impl Fn(usize, usize) -> usize) -> Pixels {
        let data = (0..height * width).map(|i| (17 * value(i / width, i % width)) as u8).collect();
        Pixels::new(ImageSize { height, width }, 1, data)
    }

    #[test]
    fn a_whole_picture_is_mapped_where_the_crop_was_taken() {
        let n_px = ImageSize { height: 8, width: 12 };
        for (height, width) in [(8, 12), (16, 40), (40, 16), (33, 47), (9, 8)] {
            // Bright inside the crop alone.
            let place = crop(ImageSize { height, width }, n_px);
            let inside = |y: usize, x: usize| {
                (place.top..place.top + place.size.height).contains(&y)
                    && (place.left..place.left + place.size.width).contains(&x)
            };
            let pixels = grey(height, width, |y, x| if inside(y, x) { 15 } else { 0 });
            let picture = Picture::new(&pixels, View::Whole, n_px, &quantizer()).unwrap();
            assert!(picture.tokens().iter().all(|token| *token == 15), "{height}×{width}: {place:?}");
            assert_eq!((picture.tiles(), picture.own, picture.place), (1, pixels.size, place));
        }
    }

    #[test]
    fn tiles_cover_the_picture_at_its_own_resolution() {
        let n_px = ImageSize::square(8);
        let value = |y: usize, x: usize| (3 * y + 5 * x + y * x) % 16;
        for (height, width) in [(8, 8), (8, 9), (21, 30), (12, 16)] {
            let picture = Picture::new(&grey(height, width, value), View::Tiles, n_px, &quantizer()).unwrap();
            let values: Vec<f64> = picture.tokens().iter().map(|token| f64::from(*token)).collect();
            let merged = picture.merge(&values);
            let expected: Vec<f64> = (0..height * width).map(|i| value(i / width, i % width) as f64).collect();
            assert_eq!(merged, Map::new(ImageSize { height, width }, expected));
            assert_eq!(picture.tiles(), Picture::count(picture.own, View::Tiles, n_px));
        }
        let small = Picture::new(&grey(7, 30, value), View::Tiles, n_px, &quantizer()).unwrap_err().to_string();
        assert!(small.contains("7×30") && small.contains("8×8"), "{small}");
    }

    #[test]
    fn where_tiles_overlap_their_mean_counts() {
        let n_px = ImageSize::square(8);
        let picture = Picture::new(&grey(8, 12, |_, _| 0), View::Tiles, n_px, &quantizer()).unwrap();
        assert_eq!(picture.tiles(), 2);
        // Each tile's number at its own pixels: columns 0 to 7, and 4 to 11.
        let values: Vec<f64> = (0..128).map(|i| f64::from(i / 64)).collect();
        let row = &picture.merge(&values).values[7 * 12..];
        assert_eq!(row, [0.0, 0.0, 0.0, 0.0, 0.5, 0.5, 0.5, 0.5, 1.0, 1.0, 1.0, 1.0]);
    }
}
