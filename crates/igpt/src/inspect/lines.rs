//! Means of a map along straight lines. They find scratches, which a square window would dilute.

use super::map::PixelMap;
use crate::image::ImageSize;

/// Lines of one length and width in several directions through the centre of a square.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    /// Side of the square, an odd number.
    side: usize,
    /// Pixels of each line as (rows, columns) from the square's corner.
    pixels: Vec<Vec<[usize; 2]>>,
}

impl Lines {
    /// Returns lines of `length` and `width` pixels in `directions` directions, evenly over half a turn.
    pub(super) fn new(length: usize, width: f64, directions: usize) -> Self {
        let centre = (length as f64 - 1.0) / 2.0;
        let line = |direction: usize| {
            let (sin, cos) = (std::f64::consts::PI * direction as f64 / directions as f64).sin_cos();
            let is_inside = |&[y, x]: &[usize; 2]| {
                let (y, x) = (y as f64 - centre, x as f64 - centre);
                let (along, across) = (x * cos + y * sin, y * cos - x * sin);
                across.abs() <= width / 2.0 + 1e-9 && along.abs() <= length as f64 / 2.0
            };
            (0..length).flat_map(|y| (0..length).map(move |x| [y, x])).filter(is_inside).collect()
        };
        Self { side: length, pixels: (0..directions).map(line).collect() }
    }

    /// Returns for each pixel the largest mean over the lines that contain it and whose square lies inside the map.
    ///
    /// In the corners, a pixel may be on no line and gets the least mean of all pixels. `None` if no square fits into
    /// the map.
    pub(super) fn largest(&self, map: &PixelMap) -> Option<PixelMap> {
        let ImageSize { height, width } = map.size;
        let (rows, columns) = ((height + 1).checked_sub(self.side)?, (width + 1).checked_sub(self.side)?);
        if rows == 0 || columns == 0 {
            return None;
        }
        let mut best = vec![f64::NEG_INFINITY; map.size.pixels()];
        let mut means = vec![0.0; columns];
        for line in &self.pixels {
            for y in 0..rows {
                let start = |[down, right]: &[usize; 2]| (y + down) * width + right;
                means.fill(0.0);
                for pixel in line {
                    let values = &map.values[start(pixel)..][..columns];
                    means.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
                }
                means.iter_mut().for_each(|sum| *sum /= line.len() as f64);
                for pixel in line {
                    let best = &mut best[start(pixel)..][..columns];
                    best.iter_mut().zip(&means).for_each(|(best, mean)| *best = best.max(*mean));
                }
            }
        }
        let least = best.iter().copied().filter(|mean| mean.is_finite()).fold(f64::INFINITY, f64::min);
        best.iter_mut().filter(|mean| !mean.is_finite()).for_each(|mean| *mean = least);
        Some(PixelMap::new(map.size, best))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_in_any_direction_stands_out_and_a_blob_of_as_many_pixels_does_not() {
        let size = ImageSize { height: 40, width: 50 };
        let lines = Lines::new(21, 1.5, 24);
        let of = |is_bright: &dyn Fn(f64, f64) -> bool| {
            let value = |i: usize| f64::from(u8::from(is_bright((i / 50) as f64, (i % 50) as f64)));
            lines.largest(&PixelMap::new(size, (0..size.pixels()).map(value).collect())).unwrap()
        };
        for angle in [0.0f64, 0.4, 1.1, 1.57, 2.5] {
            let (sin, cos) = angle.sin_cos();
            let found = of(&|y, x| {
                let (y, x) = (y - 20.0, x - 25.0);
                (y * cos - x * sin).abs() <= 0.8 && (x * cos + y * sin).abs() <= 11.0
            });
            assert!(found.max() > 0.7, "{angle}: {}", found.max());
            assert_eq!(found.max(), found.values[20 * 50 + 25]);
        }
        assert!(of(&|y, x| (y - 20.0).abs() <= 2.5 && (x - 25.0).abs() <= 2.5).max() < 0.4);
        // Everywhere the mean of a flat map, the border included; too small a map has no line.
        assert!(of(&|_, _| true).values.iter().all(|value| (value - 1.0).abs() < 1e-12));
        let small = ImageSize { height: 20, width: 50 };
        assert!(lines.largest(&PixelMap::new(small, vec![0.0; 1000])).is_none());
    }
}
