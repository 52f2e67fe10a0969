//! Pretraining and fine-tuning: configuration, schedule, plan, checkpoints, metrics, and the training loop.
//!
//! [`RunConfig`] is the configuration of a run, [`RunDir`] its directory, [`MetricsRow`] a row of its metrics.
//!
//! ```
//! use igpt::train::{Overrides, Recipe, RunConfig};
//!
//! # fn main() -> igpt::Result<()> {
//! let mut settings = Overrides::default();
//! settings.recipe(Recipe::Modern.name());
//! settings.assign("train.steps=1000")?; // as --set of the program
//! let config: RunConfig = settings.finish()?;
//! config.validate()?;
//! assert_eq!(config.train.lr, RunConfig::default().train.lr);
//! assert!(Overrides::default().assign("train.learning_rate=1").is_err());
//! # Ok(())
//! # }
//! ```

// Reading order: `config`, `plan`, `run`, `checkpoint`, `trainer`, `distributed`, `resumable`, `setup`, `prepare`, `pretrain`,
// `finetune`.

mod augmentation;
pub(crate) mod checkpoint;
pub(crate) mod config;
mod distributed;
#[cfg(test)]
mod fake;
pub(crate) mod finetune;
pub(crate) mod lr_search;
pub(crate) mod plan;
mod prepare;
pub(crate) mod pretrain;
mod resumable;
pub(crate) mod run;
mod setup;
#[cfg(test)]
mod tests;
pub(crate) mod trainer;
mod warm_start;

pub use checkpoint::{Checkpoint, CheckpointMeta, Checkpoints};
pub use config::{
    AUTO, DataSettings, Decay, ExplicitSettings, FinetuneSettings, Head, Keep, ModelSettings, MuonSettings,
    OptimizerSettings, Overrides, PaletteSettings, Recipe, RunConfig, RunPhase, Schedule, StepPlan, Table,
    TrainSettings, Value, parse_n_px,
};
pub(crate) use finetune::finetune_on;
pub use finetune::{FinetuneSummary, finetune};
pub use lr_search::{LrSearchResult, LrTrial, lr_search};
pub use plan::{Forecast, MemoryParts, Planner, SamplePlan, TimeBudget, ValidationPlan, forecast};
pub(crate) use pretrain::pretrain_on;
pub use pretrain::{PretrainSummary, pretrain};
pub use run::{
    FileComparison, RunBaselines, RunComparison, RunDir, SplitRecord, Start, TrainedOn, open_model_dir, training_course,
};
pub use trainer::{
    BatchGradient, Context, Event, GradientAccumulation, GradientNoise, LayerProbeResult, Metrics, MetricsRow,
    Observer, QuickProbe, RunStarted, SampleHook, StepReport, TimeSpent, TrainOutcome, Trainer,
};
