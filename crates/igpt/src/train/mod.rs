//! Pretraining and fine-tuning: what a run is ([`RunConfig`]), its schedule and plan, checkpoints, metrics, and the
//! loop itself.
//!
//! Reading order: [`config`], [`plan`], [`run`], [`checkpoint`], [`trainer`], `distributed`, `resumable`, `setup`,
//! `prepare`, [`mod@pretrain`], [`mod@finetune`].

mod augmentation;
pub mod checkpoint;
pub mod config;
mod distributed;
#[cfg(test)]
mod fake;
pub mod finetune;
pub mod lr_search;
pub mod plan;
mod prepare;
pub mod pretrain;
mod resumable;
pub mod run;
mod setup;
#[cfg(test)]
mod tests;
pub mod trainer;
mod warm_start;

pub use checkpoint::{Checkpoint, Checkpoints};
pub use config::{
    AUTO, Decay, FineTuneSection, Given, Head, Keep, Leg, Overrides, Plan, Recipe, RunConfig, Schedule, Table, Value,
    parse_n_px,
};
pub(crate) use finetune::finetune_on;
pub use finetune::{FineTuned, finetune};
pub use lr_search::{LrSearch, lr_search};
pub use plan::{Forecast, Planner, forecast};
pub(crate) use pretrain::pretrain_on;
pub use pretrain::{Summary, pretrain};
pub use run::{Compared, Comparison, RunDir, Start, TrainedOn, open_model};
pub use trainer::{Context, Event, Metrics, Observer, Outcome, Probed, Row, RunProbe, Spent, Trainer};
