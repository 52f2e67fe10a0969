//! What a trained model is worth: likelihood and the baselines beside it, classification, and parity with transformers.

mod baselines;
mod classes;
mod likelihood;
pub mod parity;

pub use baselines::{BaselineScores, Baselines};
pub use classes::{Accuracy, Classified, VOTES, accuracy, classify};
pub use likelihood::{Likelihood, likelihood, likelihood_by_decoding};
