//! Run directories and their contents: the model, the comparison of two runs, and the images that a model has seen.

pub(crate) mod baselines;
pub(crate) mod comparison;
pub(crate) mod dir;
mod lock;
pub(crate) mod open;
pub(crate) mod trained_on;
mod training_course;

pub use baselines::RunBaselines;
pub use comparison::{FileComparison, RunComparison};
pub use dir::{RunDir, Start};
pub use open::open_model_dir;
pub(crate) use trained_on::fingerprint_of;
pub use trained_on::{SplitRecord, TrainedOn};
pub use training_course::training_course;
