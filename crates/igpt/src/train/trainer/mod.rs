//! The loop and what it works with.
//!
//! Reading order: [`context`], [`observer`], [`metrics`], [`accumulation`], `average`, [`noise`], [`quick_probe`],
//! [`spent`], [`steps`], and what it does beside them: `pacing`, `rows`, `validating`,
//! `saving`.

pub mod accumulation;
pub(crate) mod average;
pub mod context;
pub mod metrics;
pub mod noise;
pub mod observer;
mod pacing;
pub mod quick_probe;
pub(crate) mod rows;
mod saving;
pub mod spent;
pub mod steps;
mod validating;

pub use context::Context;
pub use metrics::{Metrics, Row};
pub use observer::{Event, Observer};
pub use quick_probe::{Probed, RunProbe};
pub use spent::Spent;
pub use steps::{Outcome, Trainer};
