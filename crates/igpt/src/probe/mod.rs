//! Probes of a frozen model's features: classifiers on top of them, and the rules of their evaluation.
//!
//! They follow Chen et al. 2020, sections 2.4, 3.4 and 4.7. Classifiers are independent of models: they take features
//! as a plain (n, d) slice with one class per image ([`LabelledFeatures`]). [`probe()`] combines
//! them with the rules.
//!
//! ```
//! use igpt::probe::{LabelledFeatures, LogisticRegression, Standardizer, Workers, accuracy};
//!
//! # fn main() -> igpt::Result<()> {
//! let features: Vec<f32> = (0..40).flat_map(|i| [(i % 2) as f32, i as f32 / 40.0]).collect(); // (40, 2)
//! let labels: Vec<u32> = (0..40).map(|i| i % 2).collect();
//! let (train, workers) = (LabelledFeatures::new(&features, 2, &labels)?, Workers::new(1));
//! let standardizer = Standardizer::fit(train.features(), train.width());
//! let fit = LogisticRegression::new(&workers, &standardizer, train, 2)?.fit(1e-3);
//! assert_eq!(accuracy(&fit.linear.predict(&workers, &features), &labels), 1.0);
//! # Ok(())
//! # }
//! ```

// Reading order: `examples` and `design` (what is fitted), `whiten`, `logistic`, `ridge`, `sgd` and `knn` behind `solver`, then the
// rules: `labelled`, `protocol` and `few`; `run` is all of it.

mod cholesky;
mod design;
mod examples;
pub(crate) mod few;
pub(crate) mod knn;
pub(crate) mod labelled;
mod lbfgs;
mod linear;
pub(crate) mod logistic;
pub(crate) mod protocol;
pub(crate) mod ridge;
mod run;
#[cfg(test)]
mod run_tests;
pub(crate) mod sgd;
pub(crate) mod solver;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub(crate) mod whiten;
mod workers;

pub use examples::{LabelledFeatures, Standardizer, accuracy};
pub use few::{FewLabelAccuracy, few_labels};
pub use knn::KnnClassifier;
pub use labelled::{LabelledDataset, LabelledSplit};
pub use linear::LinearClassifier;
pub use logistic::{LogisticFit, LogisticRegression};
pub use protocol::{FeatureView, TestResult};
pub use ridge::{QuickProbeResult, RidgeRegression, quick_probe};
pub use run::{ConcatProbe, FewLabelReport, ProbeBaselines, ProbeProgress, ProbeReport, ProbeSettings, probe};
pub use sgd::SgdClassifier;
pub use solver::{Classifier, ProbeFitter, Solver, SolverChoice};
pub use whiten::Whitening;
pub use workers::Workers;
