//! The loop and what it works with.
//!
//! Reading order: [`context`], [`observer`], [`metrics`], [`accumulation`], `average`, [`noise`], [`quick_probe`],
//! [`steps`].

pub mod accumulation;
pub(crate) mod average;
pub mod context;
pub mod metrics;
pub mod noise;
pub mod observer;
pub mod quick_probe;
pub mod steps;

pub use context::Context;
pub use metrics::{Metrics, Row};
pub use observer::{Event, Observer};
pub use quick_probe::{Probed, RunProbe};
pub use steps::{Outcome, Trainer};
