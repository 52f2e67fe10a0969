//! Colours of a data set's images: their histogram, and a palette fitted to them.

use std::sync::{Mutex, PoisonError};

use igpt_kernels::pool::Pool;

use super::damaged::check_damaged;
use super::{DamagedImage, Images, Preprocess};
use crate::image::ImageSize;
use crate::palette::{ColorHistogram, Counter, Palette, PaletteFitOptions, fit};
use crate::rng::{Purpose, Rng};
use crate::{Error, Result};

/// Largest sample of images, where each must be decoded from a file.
const MOST_FILES: usize = 50_000;
/// Pixels that a thread collects before it adds them to the counts.
const FLUSH: usize = 1 << 18;

/// Fits a palette to images at a model's size, with a default number of colours.
///
/// `preprocess` brings the images to that size. The palette has `colors` colours. Without that number it has `usual`
/// ones, by default 512, or 16 for grey images; and only as many as the images have, if these are fewer.
///
/// # Errors
/// Same as [`color_histogram`] and [`fit()`].
pub fn fit_palette(
    images: &Images,
    preprocess: Preprocess,
    (colors, usual): (Option<usize>, Option<usize>),
    seed: u64,
    threads: usize,
) -> Result<Palette> {
    let options = PaletteFitOptions { seed, threads, ..PaletteFitOptions::default() };
    let sample = Some((options.pixels, options.seed));
    let (histogram, _) =
        preprocessed_color_histogram(images, Some(preprocess), images.channels(), sample, options.threads)?;
    let usual = usual.unwrap_or(if images.channels() == 1 { 16 } else { 512 });
    let colors = colors.unwrap_or(usual.min(histogram.counts().len()).max(2));
    Ok(fit(&histogram, &PaletteFitOptions { colors, ..options })?.0)
}

/// Counts the colours of images, and lists the images that could not be decoded.
///
/// Pixels are converted to 1 or 3 `channels`. Images are brought to `size` as for evaluation; without a size they stay
/// as they are. With `sample` = (pixels, seed), about that many pixels are counted: the same number from each image, all
/// of an image that has no more, and from at most 50,000 evenly spaced pictures if they are in files. 0 `threads` means
/// one per core; the result does not depend on it.
///
/// # Errors
/// When there are no images, or more than 1 % can't be decoded.
pub fn color_histogram(
    images: &Images,
    size: Option<ImageSize>,
    channels: usize,
    sample: Option<(usize, u64)>,
    threads: usize,
) -> Result<(ColorHistogram, Vec<DamagedImage>)> {
    preprocessed_color_histogram(images, size.map(Preprocess::new), channels, sample, threads)
}

/// Counts the colours of images after preprocessing, like [`color_histogram`].
///
/// An image that `preprocess` refuses counts as damaged.
///
/// # Errors
/// Same as [`color_histogram`].
pub fn preprocessed_color_histogram(
    images: &Images,
    preprocess: Option<Preprocess>,
    channels: usize,
    sample: Option<(usize, u64)>,
    threads: usize,
) -> Result<(ColorHistogram, Vec<DamagedImage>)> {
    if images.is_empty() {
        return Err(Error::Missing("there are no images to count the colours of".into()));
    }
    let used = if sample.is_some() && !images.in_memory() { images.len().min(MOST_FILES) } else { images.len() };
    let threads = Pool::thread_count(threads).min(used);
    let counter = Mutex::new(Counter::new(channels));
    let damaged = Mutex::new(Vec::new());
    let work = |first: usize| {
        let mut collected: Vec<[u8; 3]> = Vec::new();
        let flush = |collected: &mut Vec<[u8; 3]>| {
            counter.lock().unwrap_or_else(PoisonError::into_inner).add(collected);
            collected.clear();
        };
        for i in (first..used).step_by(threads).map(|i| i * images.len() / used) {
            let pixels = images.pixels(i).and_then(|pixels| match &preprocess {
                Some(preprocess) => preprocess.evaluation(&pixels),
                None => Ok(pixels),
            });
            let pixels = match pixels {
                Ok(pixels) => pixels,
                Err(problem) => {
                    let problem = DamagedImage { name: images.name(i), problem: problem.to_string() };
                    damaged.lock().unwrap_or_else(PoisonError::into_inner).push((i, problem));
                    continue;
                }
            };
            let pixels = pixels.with_channels(channels).with_channels(3).into_owned();
            let (all, _) = pixels.data.as_chunks::<3>();
            match sample {
                Some((count, seed)) if (count / used).max(1) < all.len() => {
                    let mut rng = Rng::new(seed, Purpose::Palette, 0, i as u64);
                    let draw = |_| all[rng.below(all.len() as u64) as usize];
                    collected.extend((0..(count / used).max(1)).map(draw));
                }
                _ => collected.extend(all),
            }
            if collected.len() >= FLUSH {
                flush(&mut collected);
            }
        }
        flush(&mut collected);
    };
    std::thread::scope(|scope| {
        for first in 0..threads {
            let work = &work;
            scope.spawn(move || work(first));
        }
    });
    let mut damaged = damaged.into_inner().unwrap_or_else(PoisonError::into_inner);
    damaged.sort_unstable_by_key(|(i, _)| *i);
    let damaged: Vec<DamagedImage> = damaged.into_iter().map(|(_, damaged)| damaged).collect();
    check_damaged(&damaged, used)?;
    Ok((counter.into_inner().unwrap_or_else(PoisonError::into_inner).finish(), damaged))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_counted_whole_or_sampled_alike_with_any_number_of_threads() {
        let images = crate::data::open("emoji", &Default::default()).unwrap().validation.take(50);
        let count =
            |size, channels, sample, threads| color_histogram(&images, size, channels, sample, threads).unwrap().0;
        assert_eq!(count(None, 3, None, 1).pixels(), 50 * 1024);
        assert_eq!(count(Some(ImageSize::square(16)), 3, None, 2).pixels(), 50 * 256);
        assert_eq!(count(None, 1, None, 2).channels(), 1);
        let sampled = count(None, 3, Some((5000, 4)), 1);
        assert_eq!(sampled.pixels(), 5000);
        assert_eq!(sampled, count(None, 3, Some((5000, 4)), 3));
        assert_ne!(sampled, count(None, 3, Some((5000, 5)), 3));
    }
}
