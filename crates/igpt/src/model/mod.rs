//! Models: configuration, parameters by name and shape, and model directories.
//!
//! ```
//! use igpt::image::ImageSize;
//! use igpt::model::{ModelConfig, ParamLayout, Preset};
//!
//! let network = ModelConfig::preset(Preset::S, ImageSize::square(32), 512);
//! assert_eq!(network.parameters() / 1_000_000, 76); // iGPT-S
//! assert_eq!(ParamLayout::new(&network).tensor("transformer.wte.weight").unwrap().shape, [513, 512]);
//! ```

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
