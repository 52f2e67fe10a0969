//! What a run is: the sections of its config file, the layers that these come from, and what is refused.

mod allowed;
mod check;
pub(super) mod earlier;
pub mod finetune_section;
pub mod given;
pub(super) mod heeded;
pub mod keep;
mod layers;
mod limits;
mod optimizer;
mod overrides;
pub mod planned;
pub mod recipe;
mod run_config;
pub mod schedule;
pub(super) mod token_data;
mod train_section;

pub use finetune_section::{FineTuneSection, Head};
pub use given::Given;
pub use keep::Keep;
pub use layers::{Overrides, Table, Value};
pub use optimizer::{MuonSettings, OptimizerSection};
pub use planned::{Leg, Plan};
pub use recipe::Recipe;
pub(super) use run_config::WITHOUT_EFFECT;
pub use run_config::{AUTO, DataSection, ModelSection, PaletteSection, RunConfig, parse_n_px};
pub use schedule::{Decay, Schedule};
pub use train_section::TrainSection;
