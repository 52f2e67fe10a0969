//! The different colours of some pixels and how often each occurs: what a palette is fitted to and judged by.
//!
//! Pictures repeat their colours, so counting them first makes k-means several times faster without approximation.

use std::sync::{Mutex, PoisonError};

use super::cells::place;
use crate::data::{Damaged, Images, Preprocess, tokens::check_damaged};
use crate::image::ImageSize;
use crate::rng::{Purpose, Rng};
use crate::{Error, Result};

/// Images that are looked at in a sample when each has to be decoded from a file.
const MOST_FILES: usize = 50_000;
/// Pixels that a thread collects before it adds them to the counts.
const FLUSH: usize = 1 << 18;

/// Different colours with their counts, in a fixed order that keeps similar ones together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    channels: usize,
    counts: Vec<([u8; 3], u64)>,
}

/// Counts pixels one by one; see [`Histogram`].
pub(super) struct Counter {
    channels: usize,
    counts: Vec<u32>,
}

impl Counter {
    /// For pixels of 1 or 3 channels.
    pub(super) fn new(channels: usize) -> Self {
        Self { channels, counts: vec![0; if channels == 1 { 256 } else { 1 << 24 }] }
    }

    pub(super) fn add(&mut self, pixels: &[[u8; 3]]) {
        for &pixel in pixels {
            let count = &mut self.counts[if self.channels == 1 { pixel[0] as usize } else { place(pixel) }];
            *count = count.saturating_add(1);
        }
    }

    pub(super) fn finish(self) -> Histogram {
        let occurring = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        let color = |i: usize| if self.channels == 1 { [i as u8; 3] } else { at_place(i) };
        let counts = occurring.map(|(i, &count)| (color(i), u64::from(count))).collect();
        Histogram { channels: self.channels, counts }
    }
}

/// The pixel at a [`place`].
fn at_place(place: usize) -> [u8; 3] {
    let mut pixel = [0, 1, 2].map(|c| (place >> (4 - 2 * c) & 3) as u8);
    for bit in 2..8 {
        for (c, byte) in pixel.iter_mut().enumerate() {
            *byte |= ((place >> (3 * bit + 2 - c) & 1) as u8) << bit;
        }
    }
    pixel
}

impl Histogram {
    /// Counts `pixels` of 1 (red = green = blue) or 3 channels.
    pub fn of(channels: usize, pixels: impl IntoIterator<Item = [u8; 3]>) -> Self {
        let mut counter = Counter::new(channels);
        pixels.into_iter().for_each(|pixel| counter.add(&[pixel]));
        counter.finish()
    }

    /// Counts the pixels of `images`, turned to 1 or 3 `channels` and brought to `size` as for evaluation (without a
    /// size: as they are). With `sample` = (pixels, seed), about so many: evenly many of each image, all of an image
    /// that has no more, and of pictures in files at most 50,000, evenly spaced. `threads` 0 is one a core; the
    /// result does not depend on it. Also gives the images that could not be decoded.
    ///
    /// # Errors
    /// When there are no images, or more than 1 % can't be decoded.
    pub fn of_images(
        images: &Images,
        size: Option<ImageSize>,
        channels: usize,
        sample: Option<(usize, u64)>,
        threads: usize,
    ) -> Result<(Self, Vec<Damaged>)> {
        Self::of_preprocessed(images, size.map(Preprocess::new), channels, sample, threads)
    }

    /// As [`Histogram::of_images`], brought to a size as a palette asks for; an image that it refuses counts as damaged.
    ///
    /// # Errors
    /// As [`Histogram::of_images`].
    pub fn of_preprocessed(
        images: &Images,
        preprocess: Option<Preprocess>,
        channels: usize,
        sample: Option<(usize, u64)>,
        threads: usize,
    ) -> Result<(Self, Vec<Damaged>)> {
        if images.is_empty() {
            return Err(Error::Missing("there are no images to count the colours of".into()));
        }
        let used = if sample.is_some() && !images.in_memory() { images.len().min(MOST_FILES) } else { images.len() };
        let threads = super::threads(threads).min(used);
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
                        let problem = Damaged { name: images.name(i), problem: problem.to_string() };
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
        let damaged: Vec<Damaged> = damaged.into_iter().map(|(_, damaged)| damaged).collect();
        check_damaged(&damaged, used)?;
        Ok((counter.into_inner().unwrap_or_else(PoisonError::into_inner).finish(), damaged))
    }

    /// 1 for grey pixels, 3 for RGB.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The different colours, each with its number of pixels.
    pub fn counts(&self) -> &[([u8; 3], u64)] {
        &self.counts
    }

    /// Number of pixels counted.
    pub fn pixels(&self) -> u64 {
        self.counts.iter().map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_pixels_are_one_to_one() {
        assert!((0..1 << 24).all(|i| place(at_place(i)) == i));
    }

    #[test]
    fn histogram_counts_every_pixel_of_every_colour() {
        let pixels = [[1, 2, 3], [200, 0, 9], [1, 2, 3], [3, 2, 1]];
        let histogram = Histogram::of(3, pixels);
        assert_eq!((histogram.pixels(), histogram.counts().len()), (4, 3));
        assert!(histogram.counts().contains(&([1, 2, 3], 2)) && histogram.counts().contains(&([200, 0, 9], 1)));
        assert_eq!(Histogram::of(1, [[7; 3], [9; 3], [7; 3]]).counts(), [([7; 3], 2), ([9; 3], 1)]);
    }
}
