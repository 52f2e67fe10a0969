//! Maps with a value for each pixel of a picture: window means, highest values, and heat maps at the picture's own
//! size.

use crate::image::resize::{Rect, resample};
use crate::image::{ImageSize, PixelRect, Pixels, Resampling, checker, heat};

/// Side of the windows of the scores, in pixels of the maps.
pub(crate) const SIDE: usize = 5;

/// Map with a value for each pixel of a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct PixelMap {
    /// Height and width of the map.
    pub size: ImageSize,
    /// Values in raster order.
    pub values: Vec<f64>,
}

impl PixelMap {
    /// Returns a map of `values` in raster order.
    ///
    /// # Panics
    /// Unless there is a value for each pixel.
    pub fn new(size: ImageSize, values: Vec<f64>) -> Self {
        assert_eq!(values.len(), size.pixels(), "a value for each pixel");
        Self { size, values }
    }

    /// Applies `change` to each value.
    #[must_use]
    pub fn map(mut self, change: impl Fn(f64) -> f64) -> Self {
        self.values.iter_mut().for_each(|value| *value = change(*value));
        self
    }

    /// Returns the differences from `other`, a map of the same size.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        self.with(other, |a, b| a - b)
    }

    /// Returns the sums with `other`, a map of the same size.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        self.with(other, |a, b| a + b)
    }

    /// Returns the larger values of this map and `other`, a map of the same size.
    #[must_use]
    pub fn larger(&self, other: &Self) -> Self {
        self.with(other, f64::max)
    }

    fn with(&self, other: &Self, both: impl Fn(f64, f64) -> f64) -> Self {
        Self::new(self.size, self.values.iter().zip(&other.values).map(|(a, b)| both(*a, *b)).collect())
    }

    /// Returns the largest value; negative infinity if all values are.
    pub fn max(&self) -> f64 {
        self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// Returns the sum of all values, added in raster order.
    pub fn sum(&self) -> f64 {
        self.values.iter().sum()
    }

    /// Returns the mean of the highest `share` of values, at least one of them.
    pub fn top(&self, share: f64) -> f64 {
        let mut values = self.values.clone();
        values.sort_by(|a, b| b.total_cmp(a));
        let count = ((values.len() as f64 * share).round() as usize).max(1);
        values[..count].iter().sum::<f64>() / count as f64
    }

    /// Returns the mean over the window of `side`×`side` pixels around each pixel.
    ///
    /// At the border, this is the nearest window inside the map, so that all windows have the same number of pixels.
    /// In a smaller map, the window is the whole map.
    #[must_use]
    pub fn windows(&self, side: usize) -> Self {
        let ImageSize { height, width } = self.size;
        let rows = means(&self.values, width, 1, side, width, height);
        // Down the columns: neighbours are a row apart.
        let values = means(&rows, height, width, side, 1, width);
        Self { size: self.size, values }
    }

    /// Renders a heat map as a picture of size `own`, on which the map lies at `place`.
    ///
    /// The brightest colour stands for `top` and more. A grey checkerboard covers what the map doesn't.
    pub fn picture(&self, own: ImageSize, place: PixelRect, top: f64) -> Pixels {
        let values: Vec<f32> = self.values.iter().map(|value| *value as f32).collect();
        let map = heat(&values, self.size, top as f32);
        let map = resample(&map, Rect::whole(map.size), place.size, Resampling::Bilinear);
        if place.size == own {
            return map;
        }
        let grey = |at: usize| [checker(at / own.width, at % own.width); 3];
        let mut data: Vec<u8> = (0..own.pixels()).flat_map(grey).collect();
        for (y, row) in map.data.chunks_exact(3 * place.size.width).enumerate() {
            data[3 * ((place.top + y) * own.width + place.left)..][..row.len()].copy_from_slice(row);
        }
        Pixels::new(own, 3, data)
    }
}

/// Returns means over runs of `side` values along one axis of `length`, whose values are `step` apart. There are
/// `lines` lines, whose first values are `pitch` apart. The sums are in f64 and each run is summed anew, so that
/// rounding does not accumulate along a line.
fn means(values: &[f64], length: usize, step: usize, side: usize, pitch: usize, lines: usize) -> Vec<f64> {
    let side = side.min(length);
    let mut out = vec![0.0; values.len()];
    for line in 0..lines {
        for i in 0..length {
            let start = i.saturating_sub(side / 2).min(length - side);
            let sum: f64 = (start..start + side).map(|k| values[line * pitch + k * step]).sum();
            out[line * pitch + i * step] = sum / side as f64;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_means_that_lie_inside_and_the_top_is_the_mean_of_the_highest() {
        let size = ImageSize { height: 6, width: 9 };
        let map = PixelMap::new(size, (0..54).map(|i| f64::from(i * i % 23)).collect());
        let found = map.windows(5);
        for (y, x, top, left) in [(0, 0, 0, 0), (2, 2, 0, 0), (3, 4, 1, 2), (5, 8, 1, 4)] {
            let rows = (top..top + 5).map(|y| map.values[y * 9 + left..][..5].iter().sum::<f64>());
            let sum: f64 = rows.sum();
            assert!((found.values[y * 9 + x] - sum / 25.0).abs() < 1e-12, "{y} {x}");
        }
        let mut peak = vec![0.0; 54];
        peak[30] = 50.0;
        assert!((PixelMap::new(size, peak.clone()).windows(5).max() - 2.0).abs() < 1e-12);
        assert_eq!(PixelMap::new(size, peak.clone()).top(0.01), 50.0);
        assert!((PixelMap::new(size, peak).top(0.1) - 10.0).abs() < 1e-12);
        // A window larger than the map is all of it.
        let all = map.sum() / 54.0;
        assert!(map.windows(20).values.iter().all(|value| (value - all).abs() < 1e-12));
    }

    #[test]
    fn a_map_is_shown_where_it_lies_and_grey_elsewhere() {
        let map = PixelMap::new(ImageSize::square(2), vec![0.0, 9.0, 9.0, 0.0]);
        let (own, place) = (ImageSize { height: 4, width: 8 }, ImageSize::square(4));
        let shown = map.picture(own, PixelRect { top: 0, left: 2, size: place }, 9.0);
        assert_eq!((shown.size, shown.channels), (own, 3));
        let at = |y: usize, x: usize| &shown.data[3 * (8 * y + x)..][..3];
        assert!(at(0, 0).iter().all(|v| *v == at(0, 0)[0]) && at(3, 7)[0] > 150);
        assert_eq!((at(0, 2), at(0, 5)), (&[0, 0, 4][..], &[252, 255, 164][..]));
    }
}
