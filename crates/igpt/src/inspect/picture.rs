//! Pictures as a model sees them: as a whole in one image of the model's size, or tile by tile at their own
//! resolution.

use serde::{Deserialize, Serialize};

use super::exact_values::symbol;
use super::map::PixelMap;
use crate::checksum::sha256_of;
use crate::data::{DamagedImage, Images, Preprocess};
use crate::image::{ImageSize, PixelRect, Pixels};
use crate::machine::expect_memory;
use crate::palette::Quantizer;
use crate::{Error, Result};

/// Input mode: how a picture is fed to a model, as a whole or in tiles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum InputMode {
    /// Largest centred crop of the model's proportions, scaled to the model's size, as everywhere else in igpt.
    #[default]
    Whole,
    /// Tiles: crops of the model's size at the picture's own resolution, side by side.
    ///
    /// The last tiles are moved inwards to the border. This mode is for a model that was trained on such crops.
    Tiles,
}

/// Picture ready for the engine: the tokens of its tiles, and their places.
#[derive(Clone, Debug)]
pub struct TiledPicture {
    /// Size of the picture itself.
    pub own: ImageSize,
    /// Part of the picture that the maps show.
    pub place: PixelRect,
    /// Size of the picture's maps.
    size: ImageSize,
    n_px: ImageSize,
    /// Numbers of rows above each tile and columns to its left, in the maps.
    corners: Vec<[usize; 2]>,
    tokens: Vec<u16>,
    /// Number of the exact value of each pixel of the maps, as in `within`.
    details: Vec<u32>,
    key: u64,
}

impl TiledPicture {
    /// Prepares a picture of any size for a model of size `n_px`.
    ///
    /// # Errors
    /// When it is smaller than a tile, too large for the memory that is left, or would have to be scaled although the
    /// palette forbids it.
    pub fn new(pixels: &Pixels, view: InputMode, n_px: ImageSize, quantizer: &Quantizer) -> Result<Self> {
        let own = pixels.size;
        let pixels = &*pixels.with_channels(quantizer.palette().channels());
        let key = key(&[&pixels.size.width.to_le_bytes(), &pixels.data]);
        let details = |pixels: &Pixels, tokens: &[u16]| {
            let pixels = pixels.data.chunks_exact(pixels.channels);
            pixels.zip(tokens).map(|(pixel, token)| symbol(quantizer, *token, pixel)).collect()
        };
        if view == InputMode::Whole {
            let preprocess = Preprocess::of(quantizer.palette(), n_px);
            let (scaled, place) = (preprocess.evaluation(pixels)?, preprocess.crop_rect(own)?);
            let mut tokens = vec![0; n_px.pixels()];
            quantizer.tokens(&scaled, &mut tokens);
            let details = details(&scaled, &tokens);
            return Ok(Self { own, place, size: n_px, n_px, corners: vec![[0, 0]], tokens, details, key });
        }
        if own.height < n_px.height || own.width < n_px.width {
            return Err(Error::Mismatch(format!(
                "a picture of {own} is smaller than the model's tiles of {n_px}: give larger pictures, or use a model without \
                 tiles"
            )));
        }
        expect_memory(BYTES.saturating_mul(own.pixels() as u64), || {
            format!("judging a picture of {own} in tiles (cut it, or give smaller ones)")
        })?;
        let [down, across] = [(own.height, n_px.height), (own.width, n_px.width)].map(|(a, b)| starts(a, b));
        let corners: Vec<[usize; 2]> =
            down.iter().flat_map(|&top| across.iter().map(move |&left| [top, left])).collect();
        // Each pixel is quantised once, however many tiles contain it.
        let mut all = vec![0; own.pixels()];
        quantizer.tokens(pixels, &mut all);
        let mut tokens = Vec::with_capacity(corners.len() * n_px.pixels());
        for [top, left] in &corners {
            let rows = all.chunks_exact(own.width).skip(*top).take(n_px.height);
            rows.for_each(|row| tokens.extend_from_slice(&row[*left..*left + n_px.width]));
        }
        let place = PixelRect { top: 0, left: 0, size: own };
        let details = details(pixels, &all);
        Ok(Self { own, place, size: own, n_px, corners, tokens, details, key })
    }

    /// Returns the number of tiles of a picture of size `own`; 0 if it is smaller than a tile.
    pub fn count(own: ImageSize, view: InputMode, n_px: ImageSize) -> usize {
        let along = |length: usize, tile: usize| length.checked_sub(tile).map_or(0, |_| starts(length, tile).len());
        match view {
            InputMode::Whole => 1,
            InputMode::Tiles => along(own.height, n_px.height) * along(own.width, n_px.width),
        }
    }

    /// Prepares an image of the model's size that consists of tokens already; each pixel has its palette colour as
    /// exact value.
    pub fn of_tokens(tokens: Vec<u16>, n_px: ImageSize, quantizer: &Quantizer) -> Self {
        let palette = quantizer.palette();
        let exact = |token: &u16| symbol(quantizer, *token, &palette.bytes(*token)[..palette.channels()]);
        let details = tokens.iter().map(exact).collect();
        let key = key(&[bytemuck::cast_slice(&tokens)]);
        let place = PixelRect { top: 0, left: 0, size: n_px };
        Self { own: n_px, place, size: n_px, n_px, corners: vec![[0, 0]], tokens, details, key }
    }

    /// Returns the key that identifies the picture: 64 bits of the SHA-256 of its pixels, in the palette's channels.
    pub fn key(&self) -> u64 {
        self.key
    }

    /// Returns the number of the exact value of each pixel of the maps.
    pub(super) fn details(&self) -> &[u32] {
        &self.details
    }

    /// Returns a map of `values`, one per pixel.
    pub(super) fn map(&self, values: Vec<f64>) -> PixelMap {
        PixelMap::new(self.size, values)
    }

    /// Returns the size of the model's images.
    pub fn n_px(&self) -> ImageSize {
        self.n_px
    }

    /// Returns the number of tiles; 1 for a picture seen as a whole.
    pub fn tiles(&self) -> usize {
        self.corners.len()
    }

    /// Returns the tokens of all tiles, one after the other, (tiles, T).
    pub fn tokens(&self) -> &[u16] {
        &self.tokens
    }

    /// Returns the tokens of all tiles, in batches that an engine takes at once.
    pub fn batches(&self) -> impl Iterator<Item = &[u16]> {
        self.tokens.chunks(BATCH * self.n_px.pixels())
    }

    /// Merges `values` (tiles, T) into one map of the whole picture; where tiles overlap, it has their mean.
    pub fn merge(&self, values: impl IntoIterator<Item = f64>) -> PixelMap {
        let (width, tile) = (self.size.width, self.n_px);
        let mut sums = vec![0.0; self.size.pixels()];
        let mut counts = vec![0.0f32; self.size.pixels()];
        let places = self.corners.iter().flat_map(|[top, left]| {
            (0..tile.pixels()).map(move |t| (top + t / tile.width) * width + left + t % tile.width)
        });
        for (value, at) in values.into_iter().zip(places) {
            sums[at] += value;
            counts[at] += 1.0;
        }
        sums.iter_mut().zip(&counts).for_each(|(sum, count)| *sum /= f64::from(*count));
        PixelMap::new(self.size, sums)
    }
}

/// Number of tiles per call of the engine, which splits them further as its memory requires.
pub(super) const BATCH: usize = 64;

/// Number of pictures decoded at once: whole ones, and tiles of what may be large.
const RUN: [usize; 2] = [64, 4];
/// Number of pixels in the maps of pictures that are decoded and judged at once. A larger picture is judged alone.
const PIXELS: usize = 1 << 20;
/// Bytes per pixel of the maps of a picture that is judged: maps in f64, filter responses, tokens.
const BYTES: u64 = 128;

/// Picture with its index and name among others.
#[derive(Clone, Debug)]
pub struct NamedPicture {
    /// Index among the pictures, from 0.
    pub index: usize,
    /// Name of the picture.
    pub name: String,
    /// Picture ready for the engine.
    pub picture: TiledPicture,
}

/// Passes runs of `images` to `take`, in order, prepared for a model of size `n_px`.
///
/// Returns the images that could not be read, which are in no run.
///
/// # Errors
/// When `take` fails.
pub(super) fn each_run(
    images: &Images,
    (view, n_px): (InputMode, ImageSize),
    quantizer: &Quantizer,
    take: &mut dyn FnMut(Vec<NamedPicture>) -> Result<()>,
) -> Result<Vec<DamagedImage>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    // The palette's number of channels, not that of all images together, because a picture's score depends on it
    // alone.
    let channels = quantizer.palette().channels();
    let mut damaged = Vec::new();
    let (mut first, mut largest) = (0, n_px.pixels());
    while first < images.len() {
        // A guess: as large as the pictures before.
        let run = (PIXELS / largest).clamp(1, RUN[usize::from(view == InputMode::Tiles)]);
        let last = (first + run).min(images.len());
        let share = (last - first).div_ceil(threads).max(1);
        let read = |index: usize| {
            let picture =
                images.pixels_in(index, channels).and_then(|pixels| TiledPicture::new(&pixels, view, n_px, quantizer));
            let name = images.name(index);
            match picture {
                Ok(picture) => Ok(NamedPicture { index, name, picture }),
                Err(error) => Err(DamagedImage::new(name, &error)),
            }
        };
        let found: Vec<Result<NamedPicture, DamagedImage>> = std::thread::scope(|scope| {
            let parts = (first..last).step_by(share).map(|start| {
                let read = &read;
                scope.spawn(move || (start..(start + share).min(last)).map(read).collect::<Vec<_>>())
            });
            let parts: Vec<_> = parts.collect();
            parts.into_iter().flat_map(|part| part.join().unwrap_or_else(|e| std::panic::resume_unwind(e))).collect()
        });
        first = last;
        let mut whole = Vec::with_capacity(found.len());
        for picture in found {
            match picture {
                Ok(named) => {
                    largest = largest.max(named.picture.size.pixels());
                    whole.push(named);
                }
                Err(problem) => damaged.push(problem),
            }
        }
        let sizes: Vec<usize> = whole.iter().map(|named| named.picture.size.pixels()).collect();
        let mut whole = whole.into_iter();
        for count in together(&sizes) {
            take(whole.by_ref().take(count).collect())?;
        }
    }
    Ok(damaged)
}

/// Splits neighbouring pictures of these numbers of pixels into runs that are judged at once; returns the runs'
/// lengths.
fn together(pixels: &[usize]) -> Vec<usize> {
    let (mut runs, mut sum): (Vec<usize>, usize) = (Vec::new(), 0);
    for &own in pixels {
        match runs.last_mut() {
            Some(run) if sum + own <= PIXELS => {
                *run += 1;
                sum += own;
            }
            _ => {
                runs.push(1);
                sum = own;
            }
        }
    }
    runs
}

fn key(parts: &[&[u8]]) -> u64 {
    u64::from_le_bytes(sha256_of(parts)[..8].try_into().expect("SHA-256 has 32 bytes"))
}

/// Returns where tiles of length `tile` begin on an axis of `length`: side by side, the last one at the end.
fn starts(length: usize, tile: usize) -> Vec<usize> {
    let last = length - tile;
    (0..last).step_by(tile).chain([last]).collect()
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
            let place = Preprocess::new(n_px).crop_rect(ImageSize { height, width }).unwrap();
            let inside = |y: usize, x: usize| {
                (place.top..place.top + place.size.height).contains(&y)
                    && (place.left..place.left + place.size.width).contains(&x)
            };
            let pixels = grey(height, width, |y, x| if inside(y, x) { 15 } else { 0 });
            let picture = TiledPicture::new(&pixels, InputMode::Whole, n_px, &quantizer()).unwrap();
            assert!(picture.tokens().iter().all(|token| *token == 15), "{height}×{width}: {place:?}");
            assert_eq!((picture.tiles(), picture.own, picture.place), (1, pixels.size, place));
        }
    }

    #[test]
    fn tiles_cover_the_picture_at_its_own_resolution() {
        let n_px = ImageSize::square(8);
        let value = |y: usize, x: usize| (3 * y + 5 * x + y * x) % 16;
        for (height, width) in [(8, 8), (8, 9), (21, 30), (12, 16)] {
            let picture = TiledPicture::new(&grey(height, width, value), InputMode::Tiles, n_px, &quantizer()).unwrap();
            let values: Vec<f64> = picture.tokens().iter().map(|token| f64::from(*token)).collect();
            let merged = picture.merge(values);
            let expected: Vec<f64> = (0..height * width).map(|i| value(i / width, i % width) as f64).collect();
            assert_eq!(merged, PixelMap::new(ImageSize { height, width }, expected));
            assert_eq!(picture.tiles(), TiledPicture::count(picture.own, InputMode::Tiles, n_px));
        }
        let small =
            TiledPicture::new(&grey(7, 30, value), InputMode::Tiles, n_px, &quantizer()).unwrap_err().to_string();
        assert!(small.contains("7×30") && small.contains("8×8") && small.contains("give larger"), "{small}");
    }

    #[test]
    fn where_tiles_overlap_their_mean_counts() {
        let n_px = ImageSize::square(8);
        let picture = TiledPicture::new(&grey(8, 12, |_, _| 0), InputMode::Tiles, n_px, &quantizer()).unwrap();
        assert_eq!(picture.tiles(), 2);
        // Each tile's number at its own pixels: columns 0 to 7, and 4 to 11.
        let values: Vec<f64> = (0..128).map(|i| f64::from(i / 64)).collect();
        let row = &picture.merge(values).values[7 * 12..];
        assert_eq!(row, [0.0, 0.0, 0.0, 0.0, 0.5, 0.5, 0.5, 0.5, 1.0, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn large_pictures_are_judged_one_at_a_time_and_small_ones_together() {
        assert_eq!(together(&[12_000_000, 12_000_000, 500_000, 300_000, 400_000, 12_000_000]), [1, 1, 2, 1, 1]);
        assert_eq!(together(&[1024; 64]), [64]);
        assert!(together(&[]).is_empty());
        // As they are decoded, too, in order and with each of them.
        let dir = tempfile::tempdir().unwrap();
        let paths: Vec<_> = [(9, 1), (600, 2), (1100, 3), (1100, 4), (30, 5)]
            .map(|(side, number)| {
                let path = dir.path().join(format!("{number}.png"));
                let pixels = grey(side, side, |y, x| (y / 7 + x / 5 + number) % 16);
                crate::formats::png::save(&path, &pixels, &crate::formats::png::TextChunks::none()).unwrap();
                path
            })
            .to_vec();
        let images = crate::data::sources::folder::images_of_files(&paths);
        let mut runs = Vec::new();
        let mut take = |run: Vec<NamedPicture>| {
            runs.push(run.iter().map(|named| named.picture.own.height).collect::<Vec<_>>());
            Ok(())
        };
        each_run(&images, (InputMode::Tiles, ImageSize::square(8)), &quantizer(), &mut take).unwrap();
        assert_eq!(runs, [vec![9, 600], vec![1100], vec![1100], vec![30]]);
    }
}
