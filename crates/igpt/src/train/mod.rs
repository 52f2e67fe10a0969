//! Pretraining and fine-tuning: what a run is ([`RunConfig`]), its schedule and plan, checkpoints, metrics, and the
//! loop itself.
//!
//! Reading order: [`config`], [`recipe`], [`plan`], [`schedule`], [`groups`], [`average`], [`checkpoint`],
//! [`trainer`], `ranks`, `setup`, [`mod@pretrain`], [`mod@finetune`].

pub(crate) mod average;
pub mod checkpoint;
pub mod comparison;
pub mod config;
mod context;
#[cfg(test)]
mod fake;
pub mod fine_tuning;
pub mod finetune;
pub mod forecast;
pub mod given;
pub mod groups;
mod lock;
pub mod lr_search;
pub mod metrics;
pub mod noise;
pub mod observer;
pub mod open;
pub mod overrides;
pub mod plan;
mod prepare;
pub mod pretrain;
pub mod probe;
mod ranks;
pub mod recipe;
mod room;
pub mod run_dir;
pub mod schedule;
mod setup;
#[cfg(test)]
mod tests;
mod token_data;
pub mod trained_on;
pub mod trainer;

pub use checkpoint::{Checkpoint, Checkpoints};
pub use comparison::{Compared, Comparison};
pub use config::{RunConfig, parse_n_px};
pub use context::Context;
pub use fine_tuning::FineTuneSection;
pub use finetune::{FineTuned, finetune};
pub use forecast::{Forecast, forecast};
pub use given::Given;
pub use lr_search::{LrSearch, lr_search};
pub use metrics::{Metrics, Row};
pub use observer::{Event, Observer};
pub use open::open_model;
pub use overrides::{Overrides, Value};
pub use plan::{Plan, Planner};
pub use pretrain::{Summary, pretrain};
pub use probe::{Probed, RunProbe};
pub use recipe::Recipe;
pub use run_dir::{RunDir, Start};
pub use schedule::{Decay, Schedule};
pub use trained_on::TrainedOn;
pub use trainer::{Outcome, Trainer};
