//! Training loop, and the parts that it uses.
//!
//! The modules in reading order: [`context`], [`observer`], [`metrics`], [`accumulation`], `ema`, [`noise`],
//! [`quick_probe`], [`time_spent`], [`steps`], and the parts of the loop: `pacing`, `rows`, `validating`, `saving`.

pub(crate) mod accumulation;
pub(crate) mod context;
pub(crate) mod ema;
pub(crate) mod metrics;
pub(crate) mod noise;
pub(crate) mod observer;
mod pacing;
pub(crate) mod quick_probe;
pub(crate) mod rows;
mod saving;
pub(crate) mod steps;
pub(crate) mod time_spent;
mod validating;

pub use accumulation::{BatchGradient, GradientAccumulation};
pub use context::Context;
pub use metrics::{Metrics, MetricsRow};
pub use noise::GradientNoise;
pub use observer::{Event, Observer, RunStarted, StepReport};
pub use quick_probe::{LayerProbeResult, QuickProbe};
pub use steps::{SampleHook, TrainOutcome, Trainer};
pub use time_spent::TimeSpent;
