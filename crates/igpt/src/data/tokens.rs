//! Token sets: images as palette tokens, held in memory.

use std::ops::Range;

use super::{Augment, Batch, DamagedImage, Images, Preprocess, check_damaged};
use crate::image::{ImageSize, Pixels};
use crate::palette::Quantizer;
use crate::rng::{Purpose, Rng};
use crate::{Error, Result};

/// Set of images as tokens, (N, T) in raster order, with labels, names and the list of damaged images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSet {
    /// Tokens of all images, (N, T).
    pub tokens: Vec<u16>,
    /// Height and width of an image; T is its number of pixels.
    pub n_px: ImageSize,
    /// Class of each image, if it has a label.
    pub labels: Vec<Option<u32>>,
    /// Name of each image.
    pub names: Vec<String>,
    /// Images of the source that could not be decoded and are not in the set.
    pub damaged: Vec<DamagedImage>,
}

impl TokenSet {
    /// Returns the number of images, N.
    pub fn images(&self) -> usize {
        self.names.len()
    }

    /// Returns the tokens of image `i`, (T).
    pub fn image(&self, i: usize) -> &[u16] {
        let n_ctx = self.n_px.pixels();
        &self.tokens[i * n_ctx..][..n_ctx]
    }

    /// Copies the first `count` images, or all if there are fewer.
    pub fn first(&self, count: usize) -> TokenSet {
        let count = count.min(self.images());
        Self {
            tokens: self.tokens[..count * self.n_px.pixels()].to_vec(),
            n_px: self.n_px,
            labels: self.labels[..count].to_vec(),
            names: self.names[..count].to_vec(),
            damaged: Vec::new(),
        }
    }

    /// Copies a range of the images into a batch, with labels if all of them have one.
    pub fn batch(&self, images: Range<usize>) -> Batch {
        let n_ctx = self.n_px.pixels();
        let batch = Batch::new(self.tokens[images.start * n_ctx..images.end * n_ctx].to_vec(), n_ctx);
        match self.labels[images].iter().copied().collect() {
            Some(labels) => batch.with_labels(labels),
            None => batch,
        }
    }
}

/// Tokenizes images as for evaluation: cropped and scaled to `size`, each pixel replaced by its nearest colour.
///
/// Damaged images are left out and listed.
///
/// # Errors
/// When more than 1 % of the images are damaged, the images are tokens of another palette or size, or an image needs
/// scaling that the palette forbids.
pub fn tokenize(images: &Images, size: ImageSize, quantizer: &Quantizer) -> Result<TokenSet> {
    if let Some(tokens) = images.tokens() {
        tokens.check(size, quantizer.palette())?;
    }
    tokenize_with(images, Preprocess::of(quantizer.palette(), size), |pixels, out| quantizer.tokens(pixels, out))
}

/// Tokenizes images like [`tokenize`], however many are damaged: for new pictures, where each counts for itself.
///
/// # Errors
/// When the images are tokens of another palette or size, or an image needs scaling that the palette forbids.
pub fn tokenize_unchecked(images: &Images, size: ImageSize, quantizer: &Quantizer) -> Result<TokenSet> {
    if let Some(tokens) = images.tokens() {
        tokens.check(size, quantizer.palette())?;
    }
    each_image(images, Preprocess::of(quantizer.palette(), size), |pixels, out| quantizer.tokens(pixels, out))
}

/// Cuts `count` tiles out of images at fixed positions and tokenizes them, the same number from each image.
///
/// Models of tiles ([`Resampling::Crop`](crate::image::Resampling::Crop)) are validated on such tiles.
///
/// # Errors
/// Same as [`tokenize`].
pub fn tokenize_tiles(images: &Images, size: ImageSize, quantizer: &Quantizer, count: usize) -> Result<TokenSet> {
    let tiles = images.pick((0..count).map(|k| k * images.len() / count));
    let preprocess = Preprocess { augment: Augment::Tiles, ..Preprocess::of(quantizer.palette(), size) };
    tokenize_with(&tiles, preprocess, |pixels, out| quantizer.tokens(pixels, out))
}

/// Tokenizes images like [`tokenize`]; `quantize` fills one image's tokens.
pub(super) fn tokenize_with(
    images: &Images,
    preprocess: Preprocess,
    quantize: impl Fn(&Pixels, &mut [u16]) + Sync,
) -> Result<TokenSet> {
    let set = each_image(images, preprocess, quantize)?;
    check_damaged(&set.damaged, images.len())?;
    Ok(set)
}

/// Prepares image `i` for evaluation; a tile is cut out at a position that depends on `i` only.
fn evaluated(preprocess: &Preprocess, image: &Pixels, i: usize) -> Result<Pixels> {
    match preprocess.augment {
        Augment::Tiles => preprocess.training(image, &mut Rng::new(0, Purpose::Tiles, 0, i as u64)),
        _ => preprocess.evaluation(image),
    }
}

fn each_image(
    images: &Images,
    preprocess: Preprocess,
    quantize: impl Fn(&Pixels, &mut [u16]) + Sync,
) -> Result<TokenSet> {
    let size = preprocess.size;
    let n_ctx = size.pixels();
    let mut tokens = vec![0u16; images.len() * n_ctx];
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = images.len().div_ceil(threads).max(1);
    let found: Vec<Result<Vec<(usize, DamagedImage)>>> = std::thread::scope(|scope| {
        let parts = tokens.chunks_mut(share * n_ctx).enumerate().map(|(part, tokens)| {
            let (preprocess, quantize) = (&preprocess, &quantize);
            scope.spawn(move || {
                let mut damaged = Vec::new();
                for (k, out) in tokens.chunks_exact_mut(n_ctx).enumerate() {
                    let i = part * share + k;
                    if let Some((tokens, index)) = images.stored(i) {
                        damaged.extend(tokens.evaluation(index, out)?.map(|problem| (i, problem)));
                        continue;
                    }
                    match images.pixels(i) {
                        Ok(pixels) => match evaluated(preprocess, &pixels, i) {
                            Ok(pixels) => quantize(&pixels, out),
                            Err(e) => return Err(Error::Mismatch(format!("{}: {e}", images.name(i)))),
                        },
                        Err(e) => damaged.push((i, DamagedImage::new(images.name(i), &e))),
                    }
                }
                Ok(damaged)
            })
        });
        let parts: Vec<_> = parts.collect();
        parts.into_iter().map(|part| part.join().unwrap_or_else(|e| std::panic::resume_unwind(e))).collect()
    });
    let mut damaged: Vec<(usize, DamagedImage)> = found.into_iter().collect::<Result<Vec<_>>>()?.concat();
    damaged.sort_unstable_by_key(|(i, _)| *i);

    let mut kept = Vec::with_capacity(images.len());
    kept.extend((0..images.len()).filter(|i| damaged.binary_search_by_key(i, |(i, _)| *i).is_err()));
    if kept.len() < images.len() {
        for (to, &from) in kept.iter().enumerate() {
            tokens.copy_within(from * n_ctx..(from + 1) * n_ctx, to * n_ctx);
        }
        tokens.truncate(kept.len() * n_ctx);
    }
    let damaged: Vec<DamagedImage> = damaged.into_iter().map(|(_, d)| d).collect();
    let labels = kept.iter().map(|&i| images.label(i)).collect();
    let names = kept.iter().map(|&i| images.name(i)).collect();
    Ok(TokenSet { tokens, n_px: size, labels, names, damaged })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::data::Source;

    /// `count` images of 2×2, image i filled with i; every `broken`th is damaged.
    struct Fixture {
        count: usize,
        broken: usize,
    }

    impl Source for Fixture {
        fn len(&self) -> usize {
            self.count
        }
        fn channels(&self) -> usize {
            1
        }
        fn pixels(&self, i: usize) -> Result<Pixels> {
            if (i + 1).is_multiple_of(self.broken) {
                return Err(Error::format(format!("{i}.png"), "cut off"));
            }
            Ok(Pixels::new(ImageSize::square(2), 1, vec![i as u8; 4]))
        }
        fn label(&self, i: usize) -> Option<u32> {
            Some(i as u32 % 7)
        }
        fn name(&self, i: usize) -> String {
            format!("{i}.png")
        }
        fn in_memory(&self) -> bool {
            true
        }
    }

    fn tokenized(count: usize, broken: usize) -> Result<TokenSet> {
        let images = Images::all(Arc::new(Fixture { count, broken }));
        tokenize_with(&images, Preprocess::new(ImageSize::square(2)), |pixels, out| {
            out.iter_mut().zip(&pixels.data).for_each(|(token, &value)| *token = 2 * value as u16);
        })
    }

    #[test]
    fn damaged_images_are_left_out_and_listed() {
        let set = tokenized(250, 125).unwrap();
        assert_eq!((set.images(), set.tokens.len(), set.labels.len()), (248, 248 * 4, 248));
        assert_eq!(set.damaged.iter().map(|d| d.name.as_str()).collect::<Vec<_>>(), ["124.png", "249.png"]);
        assert!(set.damaged[0].problem.contains("cut off"));
        for (i, original) in (0..249).filter(|&i| i != 124).enumerate() {
            assert_eq!(set.image(i), [2 * (original % 256) as u16; 4]);
            assert_eq!((set.names[i].clone(), set.labels[i]), (format!("{original}.png"), Some(original % 7)));
        }
        assert_eq!(set.batch(123..126).tokens(), &set.tokens[123 * 4..126 * 4]);
    }

    #[test]
    fn more_than_one_percent_of_damage_stops_with_the_first_twenty_names() {
        let error = tokenized(300, 10).unwrap_err().to_string();
        assert!(error.starts_with("30 of 300 images are damaged") && error.contains("9.png"), "{error}");
        assert!(error.contains("199.png") && !error.contains("209.png") && error.ends_with("…"), "{error}");
        assert!(tokenized(99, 99).is_err() && tokenized(100, 100).is_ok());
    }
}
