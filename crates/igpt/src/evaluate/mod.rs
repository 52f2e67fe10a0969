//! What a trained model is worth: likelihood and the baselines beside it, and parity with transformers.

mod baselines;
mod features;
mod likelihood;
pub mod parity;

pub use baselines::{BaselineScores, Baselines};
pub use features::{Layers, features};
pub use likelihood::{Likelihood, likelihood, likelihood_by_decoding};
