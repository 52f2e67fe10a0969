//! Whitening: a linear map of features, after which they are uncorrelated.
//!
//! A classifier with few labels is limited by the size of its weights, and so prefers directions in which features vary
//! most. For a network's features these are not the directions that separate classes. With all directions scaled alike,
//! few labels achieve more. The covariance is estimated on images without labels, and shrunk towards that of
//! uncorrelated features (Ledoit and Wolf 2004).

use super::cholesky::Cholesky;
use super::{Standardizer, Workers};

/// Whitening of features: scales and decorrelates them, without centring.
#[derive(Debug)]
pub struct Whitening {
    /// U of UᵀU, the covariance of the scaled features plus the shrinkage.
    factor: Cholesky,
    scale: Vec<f32>,
}

impl Whitening {
    /// Fits the whitening to (n, d) features of `width` values.
    ///
    /// `shrinkage` is added to the variances of the scaled features, which are 1. The result is `None` if the
    /// covariance is singular within rounding error.
    pub fn fit(workers: &Workers, features: &[f32], width: usize, shrinkage: f64) -> Option<Self> {
        let standardizer = Standardizer::fit(features, width);
        let n = (features.len() / width) as f64;
        let mut covariance = vec![0.0f64; width * width];
        let mut row = vec![0.0f32; width];
        for features in features.chunks_exact(width) {
            standardizer.apply(features, &mut row);
            for (i, sums) in covariance.chunks_exact_mut(width).enumerate() {
                let x = f64::from(row[i]);
                sums[i..].iter_mut().zip(&row[i..]).for_each(|(sum, &y)| *sum += x * f64::from(y));
            }
        }
        covariance.iter_mut().for_each(|sum| *sum /= n);
        covariance.iter_mut().step_by(width + 1).for_each(|variance| *variance += shrinkage);
        let factor = Cholesky::new(workers, covariance, width)?;
        Some(Self { factor, scale: standardizer.scale().to_vec() })
    }

    /// Whitens (n, d) features.
    pub fn apply(&self, features: &[f32]) -> Vec<f32> {
        let (width, n) = (self.scale.len(), features.len() / self.scale.len());
        let mut columns = vec![0.0f64; features.len()];
        for (image, features) in features.chunks_exact(width).enumerate() {
            let scaled = features.iter().zip(&self.scale).map(|(&x, &scale)| f64::from(x) * f64::from(scale));
            columns[image..].iter_mut().step_by(n).zip(scaled).for_each(|(column, x)| *column = x);
        }
        self.factor.solve_transposed(&mut columns, n);
        (0..features.len()).map(|i| columns[i % width * n + i / width] as f32).collect()
    }

    /// Converts `weights` of whitened features, (classes, d), to the equivalent weights of unwhitened features.
    pub fn head(&self, weights: &[f32]) -> Vec<f32> {
        let (width, classes) = (self.scale.len(), weights.len() / self.scale.len());
        let mut columns = vec![0.0f64; weights.len()];
        for (class, weights) in weights.chunks_exact(width).enumerate() {
            columns[class..].iter_mut().step_by(classes).zip(weights).for_each(|(column, &w)| *column = f64::from(w));
        }
        self.factor.solve_upper(&mut columns, classes);
        let of = |i: usize| columns[i % width * classes + i / width] * f64::from(self.scale[i % width]);
        (0..weights.len()).map(|i| of(i) as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing::values;

    /// Features that are partly their neighbours.
    fn related(n: usize, width: usize) -> Vec<f32> {
        let noise = values(n * width, 1.0, 3);
        noise
            .chunks_exact(width)
            .flat_map(|row| (0..width).map(|i| row[i] + 0.9 * row[i / 2] + 5.0).collect::<Vec<_>>())
            .collect()
    }

    #[test]
    fn whitened_features_are_unrelated_and_vary_alike() {
        let (features, width) = (related(500, 6), 6);
        let whitened = Whitening::fit(&Workers::new(1), &features, width, 0.0).unwrap().apply(&features);
        let mean = |i: usize| whitened.iter().skip(i).step_by(width).map(|&x| f64::from(x)).sum::<f64>() / 500.0;
        for i in 0..width {
            for j in 0..width {
                let (a, b) = (mean(i), mean(j));
                let rows = whitened.chunks_exact(width);
                let covariance = rows.map(|x| (f64::from(x[i]) - a) * (f64::from(x[j]) - b)).sum::<f64>() / 500.0;
                assert!((covariance - f64::from(u8::from(i == j))).abs() < 1e-4, "{i} {j}: {covariance}");
            }
        }
    }

    #[test]
    fn a_head_scores_features_as_its_weights_score_whitened_ones() {
        let (features, width, classes) = (related(50, 7), 7, 3);
        let whitener = Whitening::fit(&Workers::new(1), &features, width, 0.3).unwrap();
        let (whitened, weights) = (whitener.apply(&features), values(classes * width, 1.0, 5));
        let head = whitener.head(&weights);
        let score = |x: &[f32], w: &[f32]| x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum::<f64>();
        for (raw, white) in features.chunks_exact(width).zip(whitened.chunks_exact(width)) {
            for (of_raw, of_white) in head.chunks_exact(width).zip(weights.chunks_exact(width)) {
                let (a, b) = (score(raw, of_raw), score(white, of_white));
                assert!((a - b).abs() < 1e-3 * b.abs().max(1.0), "{a} {b}");
            }
        }
    }
}
