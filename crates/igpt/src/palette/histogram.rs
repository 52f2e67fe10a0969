//! Colour histograms: the different colours of pixels and their counts, for fitting and judging palettes.
//!
//! Pictures repeat their colours, so counting them first makes k-means several times faster without approximation.

use super::cells::place;

/// Histogram of colours: different colours with their counts.
///
/// Their order is fixed and keeps similar ones together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColorHistogram {
    channels: usize,
    counts: Vec<([u8; 3], u64)>,
}

/// Counter of pixels that builds a [`ColorHistogram`].
pub(crate) struct Counter {
    channels: usize,
    counts: Vec<u32>,
}

impl Counter {
    /// Creates a counter for pixels of 1 or 3 channels.
    pub(crate) fn new(channels: usize) -> Self {
        Self { channels, counts: vec![0; if channels == 1 { 256 } else { 1 << 24 }] }
    }

    pub(crate) fn add(&mut self, pixels: &[[u8; 3]]) {
        for &pixel in pixels {
            let count = &mut self.counts[if self.channels == 1 { pixel[0] as usize } else { place(pixel) }];
            *count = count.saturating_add(1);
        }
    }

    pub(crate) fn finish(self) -> ColorHistogram {
        let occurring = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        let color = |i: usize| if self.channels == 1 { [i as u8; 3] } else { at_place(i) };
        let counts = occurring.map(|(i, &count)| (color(i), u64::from(count))).collect();
        ColorHistogram { channels: self.channels, counts }
    }
}

/// Returns the pixel at a [`place`].
fn at_place(place: usize) -> [u8; 3] {
    let mut pixel = [0, 1, 2].map(|c| (place >> (4 - 2 * c) & 3) as u8);
    for bit in 2..8 {
        for (c, byte) in pixel.iter_mut().enumerate() {
            *byte |= ((place >> (3 * bit + 2 - c) & 1) as u8) << bit;
        }
    }
    pixel
}

impl ColorHistogram {
    /// Counts the colours of `pixels` with 1 (red = green = blue) or 3 channels.
    pub fn of(channels: usize, pixels: impl IntoIterator<Item = [u8; 3]>) -> Self {
        let mut counter = Counter::new(channels);
        pixels.into_iter().for_each(|pixel| counter.add(&[pixel]));
        counter.finish()
    }

    /// Returns the number of channels: 1 for grey pixels, 3 for RGB.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Returns the different colours, each with its number of pixels.
    pub fn counts(&self) -> &[([u8; 3], u64)] {
        &self.counts
    }

    /// Returns the number of pixels counted.
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
        let histogram = ColorHistogram::of(3, pixels);
        assert_eq!((histogram.pixels(), histogram.counts().len()), (4, 3));
        assert!(histogram.counts().contains(&([1, 2, 3], 2)) && histogram.counts().contains(&([200, 0, 9], 1)));
        assert_eq!(ColorHistogram::of(1, [[7; 3], [9; 3], [7; 3]]).counts(), [([7; 3], 2), ([9; 3], 1)]);
    }
}
