//! What a frozen model's features are worth: classifiers on top of them, and the rules by which they are judged
//! (Chen et al. 2020, sections 2.4, 3.4 and 4.7).
//!
//! Classifiers know nothing of models: they take features as a plain (n, d) slice with one class an image
//! ([`Examples`]). Reading order: `examples` and `design` (what is fitted), [`whiten`], [`logistic`], [`ridge`], [`sgd`] and
//! [`knn`] behind [`solver`], then the rules: [`parts`], [`protocol`] and [`few`], and
//! [`probe()`], which is all of it.

mod cholesky;
mod design;
mod examples;
pub mod few;
pub mod knn;
mod lbfgs;
mod linear;
pub mod logistic;
pub mod parts;
pub mod protocol;
pub mod ridge;
mod run;
#[cfg(test)]
mod run_tests;
pub mod sgd;
pub mod solver;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod whiten;
mod workers;

pub use examples::{Examples, Standardizer, accuracy};
pub use few::{FewLabels, few_labels};
pub use knn::Knn;
pub use linear::Linear;
pub use logistic::Logistic;
pub use parts::{Labelled, Part};
pub use protocol::Verdict;
pub use ridge::{QuickProbe, Ridge, quick_probe};
pub use run::{Baselines, Concat, Few, Progress, Report, Settings, probe};
pub use sgd::Sgd;
pub use solver::{Fitter, Solver};
pub use whiten::Whitener;
pub use workers::Workers;
