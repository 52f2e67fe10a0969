//! What a trained model is worth: likelihood and the baselines beside it, features, classification, odd and memorised
//! images, and parity with transformers.

mod baselines;
mod classes;
mod features;
#[cfg(test)]
mod finite_tests;
mod likelihood;
mod nearest;
pub mod parity;
mod surprise;

pub use baselines::{BaselineScores, Baselines, Count};
pub use classes::{Accuracy, Classified, VOTES, accuracy, classify};
pub use features::{Layers, features, features_of_whole};
pub use likelihood::{Likelihood, likelihood, likelihood_by_decoding};
pub use nearest::{Nearest, Points, nearest};
pub use surprise::{Reference, Surprise, png_nats, surprise, surprise_maps};
