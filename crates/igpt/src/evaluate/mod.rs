//! Evaluation of trained models: likelihood and baselines, features, classification, surprise, nearest neighbours and
//! parity.
//!
//! Nearest neighbours show memorised images. Parity compares results with transformers.
//!
//! ```
//! use igpt::data::{Dataset, tokenize};
//! use igpt::evaluate::NgramBaselines;
//! use igpt::model::ModelDir;
//! use igpt::palette::Quantizer;
//!
//! # fn main() -> igpt::Result<()> {
//! let (model, emoji) = (ModelDir::bundled()?, Dataset::open("emoji")?);
//! let quantizer = Quantizer::new(model.palette);
//! let train = tokenize(&emoji.train.take(200), model.config.n_px, &quantizer)?;
//! let test = tokenize(&emoji.test.take(50), model.config.n_px, &quantizer)?;
//! let scores = NgramBaselines::fit(&train, model.config.n_vocab).score(&test);
//! assert!(scores.context < scores.unigram && scores.unigram < scores.uniform);
//! # Ok(())
//! # }
//! ```

mod baselines;
mod calibration;
mod classes;
mod features;
#[cfg(test)]
mod finite_tests;
mod likelihood;
mod nearest;
pub(crate) mod parity;
mod surprise;
mod verdict;

pub use baselines::{BaselineScores, ContextCount, NgramBaselines};
pub use calibration::{CALIBRATION_BINS, best_temperature, expected_calibration_error};
pub use classes::{Accuracy, ClassLogits, Classification, VOTES, accuracy, class_logits, classify};
pub use features::{Layers, features, features_of_whole};
pub use likelihood::{Likelihood, likelihood, likelihood_by_decoding};
pub use nearest::{NearestNeighbor, Vectors, nearest};
pub use parity::{ParityReport, ReferenceRecording, TensorDifference};
pub use surprise::{Reference, Surprise, png_nats, surprise, surprise_maps};
pub use verdict::{Standing, TrainingCourse, Verdict, VerdictContext};
