//! Synthetic features for the tests.

use crate::rng::{Purpose, Rng};

/// Normally distributed numbers with a standard deviation, always the same for a seed.
pub(super) fn values(n: usize, deviation: f64, seed: u64) -> Vec<f32> {
    let mut rng = Rng::new(seed, Purpose::Probe, 0, 0);
    (0..n).map(|_| (deviation * rng.normal()) as f32).collect()
}

/// Clouds of points, one per class, around centres that all seeds share: (features, labels).
pub(super) fn clouds(n: usize, width: usize, classes: u32, deviation: f64, seed: u64) -> (Vec<f32>, Vec<u32>) {
    let centres = values(width * classes as usize, 1.0, 999);
    let labels: Vec<u32> = (0..n as u32).map(|i| (i * 7 + i / 5) % classes).collect();
    let mut features = values(n * width, deviation, seed);
    for (row, &label) in features.chunks_exact_mut(width).zip(&labels) {
        row.iter_mut().zip(&centres[label as usize * width..]).for_each(|(x, centre)| *x += centre);
    }
    (features, labels)
}
