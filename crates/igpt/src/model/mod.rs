//! The model: its configuration, its parameters by name and shape, and its directory.

pub mod config;
pub mod dir;
pub mod init;
mod initial_weights;
pub mod params;
pub mod rates;

pub use config::{ClassHead, MASK_PROB, ModelConfig, Objective, Preset};
pub use dir::{Card, ModelDir, SaveType};
pub use init::Initialization;
pub use initial_weights::initial_weights;
pub use params::{Layout, Tensor, expect_weights};
pub use rates::{RateGroup, Rates};
