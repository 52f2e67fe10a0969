//! Odd images (anomaly detection): a score for each picture, a map of where it is odd, and a threshold at a rate of false
//! alarms that is asked for, made of good pictures that nothing was fitted to.
//!
//! A [`Fit`] is made once of good pictures and kept in the model directory. It judges any picture by itself: the same
//! picture has the same score whatever it is judged with.
//!
//! Reading order: [`conformal`], [`map`], `picture`, `within`, `bank`, `evidence`, `lines`, `typical`, `score`, `divide`, `fit`, `file`, `fitting`,
//! `judge`.

mod bank;
pub mod conformal;
mod divide;
mod evidence;
mod file;
mod fit;
mod fitting;
mod judge;
mod lines;
pub mod map;
mod picture;
mod score;
#[cfg(test)]
mod tests;
mod typical;
mod within;

pub use bank::Bank;
pub use conformal::Conformal;
pub use divide::{Divided, divide};
pub use evidence::{Answers, Evidence, Good, Needs, ask, evidence};
pub use fit::{Fit, Used};
pub use fitting::{Choice, Fitted, Request, Separation, fit};
pub use judge::{Inspector, Verdict};
pub use map::Map;
pub use picture::{Named, Picture, View};
pub use score::Score;
pub use typical::{Filters, Statistics};
pub use within::Within;
