//! Weighted k-means over colours: k-means++ to start, Lloyd's iteration until nothing moves.
//!
//! Points in one cube of colours share the short list of centres that can be nearest to any of them. A pass therefore
//! costs far less than points × centres and is still exact. Distances are f32, sums are f64 in the points' order: the
//! result does not depend on the number of threads.

use std::ops::Range;

use super::ColorHistogram;
use super::cells::{Candidate, candidates, narrow_to_box, place};
use super::colors::{distance, signed};
use crate::rng::{Purpose, Rng};

/// Largest number of passes; Lloyd's iteration then stops even if points still change sides.
const MAX_PASSES: usize = 1000;

/// A run of points and their bounding box.
struct Cube {
    points: Range<usize>,
    low: [f32; 3],
    high: [f32; 3],
}

/// The points, in the histogram's order, divided into cubes of side 32 and those into cubes of side 8.
struct Points {
    at: Vec<[f32; 3]>,
    weight: Vec<f64>,
    cubes: Vec<(Cube, Vec<Cube>)>,
}

/// Result of k-means.
pub(super) struct Found {
    pub(super) centers: Vec<[f32; 3]>,
    pub(super) passes: usize,
}

/// Finds `k` centres of an RGB histogram with at least `k` colours.
pub(super) fn fit(histogram: &ColorHistogram, k: usize, seed: u64, threads: usize) -> Found {
    let points = Points::new(histogram);
    let mut centers = points.spread_out(k, seed);
    let mut owners = vec![u16::MAX; points.at.len()];
    let mut passes = 0;
    loop {
        passes += 1;
        let moved = points.assign(&centers, &mut owners, threads);
        if !moved || passes > MAX_PASSES {
            return Found { centers, passes };
        }
        points.update(&owners, &mut centers);
    }
}

impl Points {
    fn new(histogram: &ColorHistogram) -> Self {
        let counts = histogram.counts();
        let at: Vec<[f32; 3]> = counts.iter().map(|(color, _)| color.map(signed)).collect();
        let cubes_of = |range: Range<usize>, side_bits: u32| -> Vec<Cube> {
            let same =
                |a: &([u8; 3], u64), b: &([u8; 3], u64)| place(a.0) >> (3 * side_bits) == place(b.0) >> (3 * side_bits);
            let mut start = range.start;
            let runs = counts[range].chunk_by(same);
            runs.map(|run| {
                let points = start..start + run.len();
                start = points.end;
                let (mut low, mut high) = ([f32::INFINITY; 3], [f32::NEG_INFINITY; 3]);
                for point in &at[points.clone()] {
                    for c in 0..3 {
                        low[c] = low[c].min(point[c]);
                        high[c] = high[c].max(point[c]);
                    }
                }
                Cube { points, low, high }
            })
            .collect()
        };
        let cubes = cubes_of(0..at.len(), 5).into_iter().map(|coarse| {
            let fine = cubes_of(coarse.points.clone(), 3);
            (coarse, fine)
        });
        let cubes = cubes.collect();
        Self { at, weight: counts.iter().map(|(_, count)| *count as f64).collect(), cubes }
    }

    /// k-means++: each next centre is a point drawn with probability proportional to its weight times the squared
    /// distance to the nearest centre so far.
    fn spread_out(&self, k: usize, seed: u64) -> Vec<[f32; 3]> {
        let cubes: Vec<&Cube> = self.cubes.iter().flat_map(|(_, fine)| fine).collect();
        let mut squared = vec![f32::INFINITY; self.at.len()];
        // For each cube: the largest squared distance, and the sum that decides the draw.
        let mut largest = vec![f32::INFINITY; cubes.len()];
        let mut sums: Vec<f64> = cubes.iter().map(|cube| self.weight[cube.points.clone()].iter().sum()).collect();
        let mut centers: Vec<[f32; 3]> = Vec::with_capacity(k);
        for i in 0..k {
            let mut left = Rng::new(seed, Purpose::Palette, 1, i as u64).uniform() * sums.iter().sum::<f64>();
            let mass = |p: usize| self.weight[p] * if i == 0 { 1.0 } else { f64::from(squared[p]) };
            let chosen = sums.iter().position(|sum| {
                left -= sum;
                left < 0.0
            });
            // Rounding may leave nothing to choose. Then take the last cube that has any mass.
            let chosen = chosen.or_else(|| sums.iter().rposition(|&sum| sum > 0.0)).unwrap_or(0);
            left += sums[chosen];
            let mut inside = cubes[chosen].points.clone().filter(|&p| mass(p) > 0.0);
            let first = inside.next().unwrap_or(cubes[chosen].points.start);
            let mut point = first;
            left -= mass(first);
            while left >= 0.0 {
                let Some(next) = inside.next() else { break };
                (point, left) = (next, left - mass(next));
            }
            let center = self.at[point];
            centers.push(center);
            for (c, cube) in cubes.iter().enumerate() {
                let clamped = [0, 1, 2].map(|c| center[c].clamp(cube.low[c], cube.high[c]));
                if distance(center, clamped) < largest[c] {
                    (largest[c], sums[c]) = (0.0, 0.0);
                    for p in cube.points.clone() {
                        squared[p] = squared[p].min(distance(self.at[p], center));
                        largest[c] = largest[c].max(squared[p]);
                        sums[c] += self.weight[p] * f64::from(squared[p]);
                    }
                }
            }
        }
        centers
    }

    /// Assigns each point to its nearest centre, the first one on a tie, and returns whether any point changed.
    fn assign(&self, centers: &[[f32; 3]], owners: &mut [u16], threads: usize) -> bool {
        let all = candidates(centers);
        let share = self.at.len().div_ceil(threads.max(1));
        std::thread::scope(|scope| {
            let mut cubes = &self.cubes[..];
            let mut owners = owners;
            let mut parts = Vec::new();
            while let Some(first) = cubes.first() {
                let start = first.0.points.start;
                let count = 1 + cubes[1..].iter().take_while(|(cube, _)| cube.points.end - start <= share).count();
                let (part, rest) = cubes.split_at(count);
                let (owned, others) = owners.split_at_mut(part[count - 1].0.points.end - start);
                (cubes, owners) = (rest, others);
                let all = &all;
                parts.push(scope.spawn(move || self.assign_part(part, all, owned)));
            }
            // Not `any`, which would stop at the first.
            parts
                .into_iter()
                .fold(false, |moved, part| moved | part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    }

    fn assign_part(&self, cubes: &[(Cube, Vec<Cube>)], all: &[Candidate], owners: &mut [u16]) -> bool {
        let start = cubes[0].0.points.start;
        let mut moved = false;
        for (coarse, fine) in cubes {
            let near = narrow_to_box(all, coarse.low, coarse.high);
            for cube in fine {
                let near = narrow_to_box(&near, cube.low, cube.high);
                for p in cube.points.clone() {
                    let mut best = (f32::INFINITY, 0);
                    for &(center, i) in &near {
                        let d = distance(self.at[p], center);
                        if d < best.0 {
                            best = (d, i);
                        }
                    }
                    moved |= owners[p - start] != best.1;
                    owners[p - start] = best.1;
                }
            }
        }
        moved
    }

    /// Moves each centre to the mean of its points; a centre without points goes to the point with the highest cost.
    fn update(&self, owners: &[u16], centers: &mut [[f32; 3]]) {
        let mut sums = vec![[0.0f64; 4]; centers.len()];
        for ((at, weight), &owner) in self.at.iter().zip(&self.weight).zip(owners) {
            let sum = &mut sums[owner as usize];
            for c in 0..3 {
                sum[c] += weight * f64::from(at[c]);
            }
            sum[3] += weight;
        }
        let empty: Vec<usize> = (0..centers.len()).filter(|&i| sums[i][3] == 0.0).collect();
        if !empty.is_empty() {
            let cost = |p: usize| self.weight[p] * f64::from(distance(self.at[p], centers[owners[p] as usize]));
            let mut costly: Vec<(f64, usize)> = (0..self.at.len()).map(|p| (cost(p), p)).collect();
            costly.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            for (&i, &(_, p)) in empty.iter().zip(&costly) {
                centers[i] = self.at[p];
            }
        }
        for (center, sum) in centers.iter_mut().zip(&sums).filter(|(_, sum)| sum[3] > 0.0) {
            *center = [0, 1, 2].map(|c| (sum[c] / sum[3]) as f32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_centre_without_points_goes_where_the_error_is_largest() {
        let points = Points::new(&ColorHistogram::of(3, [[0; 3], [10; 3], [10; 3], [90; 3]]));
        let mut centers = [signed(5), signed(250)].map(|c| [c; 3]);
        points.update(&[0, 0, 0], &mut centers);
        assert_eq!(centers[1], [signed(90); 3]);
        let mean = (signed(0) + 2.0 * signed(10) + signed(90)) / 4.0;
        assert!((centers[0][0] - mean).abs() < 1e-6);
    }
}
