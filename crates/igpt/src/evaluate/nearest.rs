//! Has a model memorised its training images? The nearest of them to what it draws, and how near held-out images come.

use igpt_kernels::pool::{Pool, chunks};

use crate::data::TokenSet;
use crate::palette::Quantizer;

/// Vectors of one length, such as images as pixel values or as features.
#[derive(Clone, Debug, PartialEq)]
pub struct Points {
    /// Values of a vector.
    pub dim: usize,
    /// All values, vector after vector.
    pub values: Vec<f32>,
}

/// The nearest of some vectors to one.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Nearest {
    /// Its position.
    pub image: usize,
    /// How far it is: the root of the mean squared difference of a value.
    pub distance: f64,
}

impl Points {
    /// Number of vectors.
    pub fn len(&self) -> usize {
        self.values.len() / self.dim.max(1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The images of `set` as channel values from 0 to 255, in the palette's colours.
    pub fn of_pixels(set: &TokenSet, quantizer: &Quantizer) -> Self {
        let dim = set.n_px.pixels() * quantizer.palette().channels();
        let pixels = (0..set.images()).flat_map(|i| quantizer.pixels(set.image(i), set.n_px).data);
        Self { dim, values: pixels.map(f32::from).collect() }
    }

    /// Mean and deviation of each value over all vectors.
    pub fn moments(&self) -> Vec<(f32, f32)> {
        let n = self.len() as f64;
        (0..self.dim)
            .map(|d| {
                let column = || self.values.iter().skip(d).step_by(self.dim).map(|&v| f64::from(v));
                let mean = column().sum::<f64>() / n;
                let variance = column().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
                (mean as f32, variance.sqrt() as f32)
            })
            .collect()
    }

    /// Subtracts the means and divides by the deviations; values that never change become 0.
    pub fn standardize(&mut self, moments: &[(f32, f32)]) {
        for (value, &(mean, deviation)) in self.values.iter_mut().zip(moments.iter().cycle()) {
            *value = if deviation > 0.0 { (*value - mean) / deviation } else { 0.0 };
        }
    }

    fn point(&self, i: usize) -> &[f32] {
        &self.values[i * self.dim..][..self.dim]
    }
}

/// The nearest of `among` to each of `points`, the first of equals. Panics unless both have one length of vectors and
/// `among` has some.
pub fn nearest(points: &Points, among: &Points, pool: &Pool) -> Vec<Nearest> {
    assert!(points.dim == among.dim && !among.is_empty(), "vectors of one length to look among");
    let mut found = vec![Nearest { image: 0, distance: f64::INFINITY }; points.len()];
    pool.for_each(chunks(&mut found, 1), |i, found| {
        let point = points.point(i);
        let mut best = (0, f32::INFINITY);
        for image in 0..among.len() {
            let squares = squared_distance(point, among.point(image), best.1);
            if squares < best.1 {
                best = (image, squares);
            }
        }
        found[0] = Nearest { image: best.0, distance: (f64::from(best.1) / points.dim as f64).sqrt() };
    });
    found
}

/// Σ (a − b)², or a part of the sum that is already `enough`.
fn squared_distance(a: &[f32], b: &[f32], enough: f32) -> f32 {
    const RUN: usize = 128;
    let mut sum = 0.0;
    for (a, b) in a.chunks(RUN).zip(b.chunks(RUN)) {
        let mut lanes = [0.0f32; 8];
        for (a, b) in a.chunks(8).zip(b.chunks(8)) {
            for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
                *lane += (a - b) * (a - b);
            }
        }
        sum += lanes.iter().sum::<f32>();
        if sum >= enough {
            break;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, Rng};

    fn points(count: usize, dim: usize, seed: u64) -> Points {
        let value = |i: u64| Rng::new(seed, Purpose::Sample, 0, i).normal() as f32;
        Points { dim, values: (0..(count * dim) as u64).map(value).collect() }
    }

    #[test]
    fn the_nearest_is_that_of_a_plain_search_on_any_number_of_threads() {
        let (some, among) = (points(9, 301, 1), points(50, 301, 2));
        let found = nearest(&some, &among, &Pool::new(1));
        assert_eq!(found, nearest(&some, &among, &Pool::new(3)));
        for (i, nearest) in found.iter().enumerate() {
            let distance = |image: usize| -> f64 {
                let squares = some.point(i).iter().zip(among.point(image)).map(|(a, b)| f64::from(a - b).powi(2));
                (squares.sum::<f64>() / 301.0).sqrt()
            };
            let best = (0..50).min_by(|&a, &b| distance(a).total_cmp(&distance(b))).unwrap();
            assert_eq!(nearest.image, best);
            assert!((nearest.distance - distance(best)).abs() < 1e-5);
        }
    }

    #[test]
    fn a_copy_is_found_at_distance_zero() {
        let among = points(20, 40, 3);
        let copy = Points { dim: 40, values: among.point(13).to_vec() };
        assert_eq!(nearest(&copy, &among, &Pool::new(1)), [Nearest { image: 13, distance: 0.0 }]);
    }

    #[test]
    fn standardized_points_have_mean_zero_and_deviation_one() {
        let mut some = points(300, 3, 4);
        some.values.iter_mut().enumerate().for_each(|(i, v)| *v = if i % 3 == 1 { 5.0 } else { 3.0 * *v + 1.0 });
        let moments = some.moments();
        some.standardize(&moments);
        let after = some.moments();
        assert!(after[0].0.abs() < 1e-5 && (after[0].1 - 1.0).abs() < 1e-5);
        assert_eq!(after[1], (0.0, 0.0));
    }
}
