//! A run's directory, and what is found in it afterwards: its model, whether two runs are the same, the images that it has
//! seen.

pub mod baselines;
pub mod comparison;
mod course;
pub mod dir;
mod lock;
pub mod open;
pub mod trained_on;

pub use baselines::RunBaselines;
pub use comparison::{Compared, Comparison};
pub use course::course;
pub use dir::{RunDir, Start};
pub use open::open_model;
pub use trained_on::TrainedOn;
