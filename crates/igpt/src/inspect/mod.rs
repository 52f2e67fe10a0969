//! Inspection of pictures for odd ones (anomaly detection): scores, maps of where a picture is odd, and conformal
//! thresholds.
//!
//! An [`InspectionFit`] is fitted once to good pictures and kept in the model directory. Its conformal threshold is
//! made of held-out good pictures, which nothing was fitted to, for a given rate of false alarms. Each picture is
//! judged by itself: its score is the same, whatever it is judged with.
//!
//! ```
//! use igpt::inspect::ConformalScores;
//!
//! let held_out = ConformalScores::new((0..99).map(f64::from).collect()).unwrap();
//! assert_eq!(held_out.threshold(0.05).unwrap(), 94.0); // at most 5 % of good pictures score higher
//! assert!(held_out.threshold(0.001).is_err()); // that takes 999 pictures
//! ```

// Reading order: `conformal`, `map`, `picture`, `exact_values`, `bank`, `score_maps`, `lines`, `typical`, `score`, `good_split`,
// `fit`, `file`, `fitting`, `judge`.

mod bank;
pub(crate) mod conformal;
mod exact_values;
mod file;
mod fit;
mod fitting;
mod good_split;
mod judge;
mod lines;
pub(crate) mod map;
mod picture;
mod score;
mod score_maps;
#[cfg(test)]
mod tests;
mod typical;

pub use bank::FeatureBank;
pub use conformal::{ConformalScores, FALSE_ALARMS, expect_rate};
pub use exact_values::ExactValueSurprise;
pub use fit::{FitRecord, InspectionFit};
pub use fitting::{FitOutcome, FitRequest, ScoreChoice, ScoreSeparation, fit};
pub use good_split::{GoodSplit, split_good};
pub use judge::{InspectionResult, Inspector};
pub use map::PixelMap;
pub use picture::{InputMode, NamedPicture, TiledPicture};
pub use score::Score;
pub use score_maps::{GoodReference, ScoreInputs, ScoreMaps, TileOutputs, score_maps, tile_outputs};
pub use typical::{FilterSizes, FilterStatistics};
