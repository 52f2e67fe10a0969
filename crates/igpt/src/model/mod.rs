//! Models: configuration, parameters by name and shape, and model directories.

pub(crate) mod config;
pub(crate) mod dir;
pub(crate) mod init;
mod initial_weights;
pub(crate) mod lr_multipliers;
pub(crate) mod params;

pub use config::{ClassHead, MASK_PROB, ModelConfig, Objective, Preset};
pub use dir::{ModelCard, ModelDir, PARITY_RECORDING, SaveType};
pub use init::{Initialization, TensorInit};
pub use initial_weights::initial_weights;
pub use lr_multipliers::{LrGroup, LrMultipliers};
pub use params::{ParamLayout, ParamTensor, expect_weights};
