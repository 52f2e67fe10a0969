//! What a run is: the sections of its config file, the layers that these come from, and what is refused.

mod check;
pub mod finetune_section;
pub mod given;
mod limits;
pub mod overrides;
pub mod recipe;
mod run_config;
pub mod schedule;
pub(super) mod token_data;
mod train_section;

pub use finetune_section::FineTuneSection;
pub use given::Given;
pub use overrides::{Overrides, Value};
pub use recipe::Recipe;
pub use run_config::*;
pub use schedule::{Decay, Schedule};
pub use train_section::{MuonSettings, TrainSection};
