//! Nearest neighbours, which show whether a model has memorised its training images.
//!
//! The distances of drawn images to their nearest training images are compared with those of held-out images.

use igpt_kernels::matmul::{Out, Panels, matmul};
use igpt_kernels::pool::{Pool, chunks};
use igpt_kernels::{Isa, LANE_PAD, MatMut, MatRef};

use crate::data::TokenSet;
use crate::palette::Quantizer;

/// Number of query vectors in one piece of work.
const QUERIES: usize = 32;
/// Number of vectors searched at once.
const BLOCK: usize = 2048;

/// Vectors of equal length, such as images as pixel values or as features.
#[derive(Clone, Debug, PartialEq)]
pub struct Vectors {
    /// Number of values of a vector.
    pub dim: usize,
    /// Values of all vectors, one after the other.
    pub values: Vec<f32>,
}

/// Nearest neighbour of a vector among others.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct NearestNeighbor {
    /// Index of the neighbour.
    pub image: usize,
    /// Distance: the root of the mean squared difference per value.
    pub distance: f64,
}

impl Vectors {
    /// Returns the number of vectors.
    pub fn len(&self) -> usize {
        self.values.len() / self.dim.max(1)
    }

    /// Returns whether there are no vectors.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Returns the images of `set` as channel values from 0 to 255, in the palette's colours.
    pub fn of_pixels(set: &TokenSet, quantizer: &Quantizer) -> Self {
        let dim = set.n_px.pixels() * quantizer.palette().channels();
        let pixels = (0..set.images()).flat_map(|i| quantizer.pixels(set.image(i), set.n_px).data);
        Self { dim, values: pixels.map(f32::from).collect() }
    }

    /// Returns the mean and standard deviation of each value over all vectors.
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

    /// Standardises the vectors: subtracts the means and divides by the deviations.
    ///
    /// Values with a deviation of 0 become 0.
    pub fn standardize(&mut self, moments: &[(f32, f32)]) {
        for (value, &(mean, deviation)) in self.values.iter_mut().zip(moments.iter().cycle()) {
            *value = if deviation > 0.0 { (*value - mean) / deviation } else { 0.0 };
        }
    }

    fn point(&self, i: usize) -> &[f32] {
        &self.values[i * self.dim..][..self.dim]
    }
}

/// Returns the nearest neighbour in `among` of each of `points`, the first on a tie.
///
/// Matrix products find the vectors that may be the nearest: |b|² − 2ab, block by block, with a bound on its
/// rounding. The distances of these few are then summed one by one, so that the bits depend neither on blocks nor on
/// threads.
///
/// # Panics
/// Unless all vectors have one length and `among` has some.
pub fn nearest(points: &Vectors, among: &Vectors, pool: &Pool) -> Vec<NearestNeighbor> {
    assert!(points.dim == among.dim && !among.is_empty(), "vectors of one length to look among");
    let (isa, dim) = (Isa::detect(), points.dim);
    // The nearest so far, and its squared distance.
    let mut best = vec![(0, f32::INFINITY); points.len()];
    let queries = points.len().div_ceil(pool.threads()).clamp(1, QUERIES);
    let mut scratch: Vec<_> = (0..pool.threads()).map(|_| vec![0.0f32; queries * BLOCK]).collect();
    for (b, values) in among.values.chunks(BLOCK * dim).enumerate() {
        let block = Block::new(isa, values, dim);
        pool.each(chunks(&mut best, queries), &mut scratch, |piece, best, products| {
            let m = best.len();
            let rows = MatRef::new(&points.values[piece * queries * dim..][..m * dim], m, dim);
            let products = &mut products[..m * block.panels.n()];
            let out = Out::F32(MatMut::new(products, m, block.panels.n()));
            matmul(isa, rows, &block.panels, Some(&block.squares), out);
            for (i, (best, products)) in best.iter_mut().zip(products.chunks_exact(block.panels.n())).enumerate() {
                let point = points.point(piece * queries + i);
                let limit = block.limit(point, products, best.1);
                for (i, product) in products[..values.len() / dim].iter().enumerate() {
                    // NaN goes on to the exact distance.
                    if *product > limit {
                        continue;
                    }
                    let image = b * BLOCK + i;
                    let squares = squared_distance(point, among.point(image), best.1);
                    if squares < best.1 {
                        *best = (image, squares);
                    }
                }
            }
        });
    }
    let found = |(image, squares): (usize, f32)| {
        let distance = (f64::from(squares) / dim as f64).sqrt();
        NearestNeighbor { image, distance }
    };
    best.into_iter().map(found).collect()
}

/// Packed vectors that are compared with others at once.
struct Block {
    /// −2b, (dim, vectors).
    panels: Panels<f32>,
    /// Values of |b|²; infinite for padding of the panels.
    squares: Vec<f32>,
    /// Largest of the squares.
    largest: f32,
}

impl Block {
    fn new(isa: Isa, values: &[f32], dim: usize) -> Self {
        let count = values.len() / dim;
        let mut panels = Panels::new(dim, count.next_multiple_of(LANE_PAD));
        let doubled: Vec<f32> = values.iter().map(|value| -2.0 * value).collect();
        panels.pack(isa, MatRef::new(&doubled, count, dim), true);
        let mut squares: Vec<f32> = values.chunks_exact(dim).map(square).collect();
        let largest = squares.iter().copied().fold(0.0, f32::max);
        squares.resize(panels.n(), f32::INFINITY);
        Self { panels, squares, largest }
    }

    /// Upper bound of |b|² − 2ab for vectors that may be as near to `point` as the nearest.
    ///
    /// It is the least of `products` or what is `known` already, plus what both may be wrong by. With u for half of
    /// EPSILON, sums of n products are wrong by at most about nu Σ|ab|. For products, squares and distances together,
    /// this is less than 8nu (|a|² + |b|²).
    fn limit(&self, point: &[f32], products: &[f32], known: f32) -> f32 {
        let own = square(point);
        let room = 4.0 * f32::EPSILON * (point.len() + 16) as f32 * (own + self.largest) + f32::MIN_POSITIVE;
        let limit = least(products).min(known - own) + room;
        if limit.is_finite() { limit } else { f32::INFINITY }
    }
}

/// Least of some values, whose number is a multiple of [`LANE_PAD`].
fn least(values: &[f32]) -> f32 {
    let mut lanes = [f32::INFINITY; LANE_PAD];
    for run in values.chunks_exact(LANE_PAD) {
        for (lane, value) in lanes.iter_mut().zip(run) {
            *lane = if *value < *lane { *value } else { *lane };
        }
    }
    lanes.into_iter().fold(f32::INFINITY, f32::min)
}

/// |a|²
fn square(a: &[f32]) -> f32 {
    a.iter().map(|value| value * value).sum()
}

/// Σ (a − b)², or a partial sum that is already `enough`.
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

    fn points(count: usize, dim: usize, seed: u64) -> Vectors {
        let value = |i: u64| Rng::new(seed, Purpose::Sample, 0, i).normal() as f32;
        Vectors { dim, values: (0..(count * dim) as u64).map(value).collect() }
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

    /// One after the other, as the definition has it.
    fn plain(some: &Vectors, among: &Vectors) -> Vec<NearestNeighbor> {
        let of = |point: &[f32]| {
            let mut best = (0, f32::INFINITY);
            for image in 0..among.len() {
                let squares = squared_distance(point, among.point(image), best.1);
                if squares < best.1 {
                    best = (image, squares);
                }
            }
            NearestNeighbor { image: best.0, distance: (f64::from(best.1) / some.dim as f64).sqrt() }
        };
        some.values.chunks_exact(some.dim).map(of).collect()
    }

    #[test]
    fn products_find_what_a_plain_search_finds_to_the_last_bit() {
        // More than a block; far from the origin, where products cancel; equals and copies among them; no numbers.
        for (count, dim, far) in [(BLOCK + 71, 24, 0.0), (900, 7, 1000.0), (100, 130, 30.0), (33, 1, 0.0)] {
            let mut among = points(count, dim, 5);
            among.values.iter_mut().for_each(|value| *value += far);
            let (head, tail) = among.values.split_at_mut(20 * dim);
            tail[..dim].copy_from_slice(&head[3 * dim..][..dim]);
            let mut some = points(67, dim, 6);
            some.values.iter_mut().for_each(|value| *value += far);
            some.values[2 * dim..3 * dim].copy_from_slice(among.point(20));
            for broken in [None, Some(f32::NAN), Some(f32::INFINITY), Some(1e30)] {
                if let Some(broken) = broken {
                    (among.values[11 * dim], some.values[5 * dim]) = (broken, broken);
                }
                let expected = plain(&some, &among);
                assert_eq!(expected[2], NearestNeighbor { image: 3, distance: 0.0 });
                for threads in [1, 3] {
                    assert_eq!(nearest(&some, &among, &Pool::new(threads)), expected, "{count} {dim} {far} {broken:?}");
                }
            }
        }
    }

    #[test]
    fn a_copy_is_found_at_distance_zero() {
        let among = points(20, 40, 3);
        let copy = Vectors { dim: 40, values: among.point(13).to_vec() };
        assert_eq!(nearest(&copy, &among, &Pool::new(1)), [NearestNeighbor { image: 13, distance: 0.0 }]);
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
