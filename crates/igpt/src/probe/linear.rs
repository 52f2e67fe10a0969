//! Linear classifier on standardised features, common to all solvers.

use super::design::Design;
use super::{Standardizer, Workers};

/// Linear classifier: class scores are linear in the standardised features, and the largest wins.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearClassifier {
    pub(super) standardizer: Standardizer,
    /// (d + 1, classes); the last row holds the intercepts.
    pub(super) weights: Vec<f32>,
    pub(super) classes: usize,
}

impl LinearClassifier {
    /// Predicts the classes of (n, d) features.
    pub fn predict(&self, workers: &Workers, features: &[f32]) -> Vec<u32> {
        Design::new(workers, &self.standardizer, features).predict(workers, &self.weights, self.classes)
    }

    /// Weights of the standardised features, (d, classes), and the intercepts.
    pub fn weights(&self) -> (&[f32], &[f32]) {
        self.weights.split_at(self.weights.len() - self.classes)
    }

    /// Weights of unstandardised features, (classes, d), for a classifier without intercepts on top of a network.
    pub fn head(&self) -> Vec<f32> {
        let (weights, scale) = (self.weights().0, self.standardizer.scale());
        let of = |class: usize| scale.iter().enumerate().map(move |(i, s)| weights[i * self.classes + class] * s);
        (0..self.classes).flat_map(of).collect()
    }
}
