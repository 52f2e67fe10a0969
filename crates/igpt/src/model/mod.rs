//! The model: its configuration, its parameters in one flat arena, and the engine trait that whatever computes it
//! implements.

pub mod config;
pub mod dir;
pub mod engine;
pub mod params;

pub use config::{ClassHead, ImageSize, ModelConfig, Objective, Preset};
pub use dir::{Card, ModelDir, SaveType};
pub use engine::{AdamUpdate, Decoder, Engine, FineTuning, LossSum, MuonUpdate, Optimizer, Precision, State, Update};
pub use params::{Layout, Tensor};
