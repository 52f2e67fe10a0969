//! The model: its configuration, its parameters in one flat arena, and the engine trait that whatever computes it
//! implements.

pub mod config;
pub mod dir;
pub mod engine;
pub mod init;
pub mod params;

pub use config::{ImageSize, ModelConfig, Preset};
pub use dir::{Card, ModelDir, SaveType};
pub use engine::{AdamUpdate, Decoder, Engine, LossSum, MuonUpdate, Optimizer, Pooling, Precision, State, Update};
pub use init::{Initialization, initial_weights};
pub use params::{Layout, Tensor};
