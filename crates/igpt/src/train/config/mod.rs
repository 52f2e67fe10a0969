//! What a run is: the sections of its config file, the layers that these come from, and what is refused.

mod check;
pub(super) mod earlier;
pub mod finetune_section;
pub mod given;
mod limits;
mod optimizer;
pub mod overrides;
pub mod recipe;
mod run_config;
pub mod schedule;
pub(super) mod token_data;
mod train_section;

pub use finetune_section::FineTuneSection;
pub use given::Given;
pub use optimizer::{MuonSettings, OptimizerSection};
pub use overrides::{Overrides, Value};
pub use recipe::Recipe;
pub use run_config::*;
pub use schedule::{Decay, Schedule};
pub use train_section::TrainSection;
