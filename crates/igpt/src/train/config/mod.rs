//! Configuration of a run: the sections of its config file, the layers of settings that make it, and its validation.

mod allowed;
mod check;
pub(crate) mod explicit;
pub(crate) mod finetune_section;
pub(crate) mod keep;
mod layers;
mod limits;
pub(super) mod migrate;
mod optimizer;
mod overrides;
pub(crate) mod planned;
pub(crate) mod recipe;
mod run_config;
pub(crate) mod schedule;
pub(super) mod token_data;
mod train_section;
pub(super) mod unused;

pub use explicit::ExplicitSettings;
pub use finetune_section::{FinetuneSettings, Head};
pub use keep::Keep;
pub use layers::{Overrides, Table, Value};
pub use optimizer::{MuonSettings, OptimizerSettings};
pub use planned::{RunPhase, StepPlan};
pub use recipe::Recipe;
pub(super) use run_config::WITHOUT_EFFECT;
pub use run_config::{AUTO, DataSettings, ModelSettings, PaletteSettings, RunConfig, parse_n_px};
pub use schedule::{Decay, Schedule};
pub use train_section::TrainSettings;
