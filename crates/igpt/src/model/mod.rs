//! The model: its configuration, its parameters in one flat arena, and the engine trait that whatever computes it
//! implements.

pub mod config;
pub mod dir;
pub mod engine;
pub mod finite;
pub mod init;
mod initial_weights;
pub mod params;
pub mod rates;

pub use config::{ClassHead, MASK_PROB, ModelConfig, Objective, Preset};
pub use dir::{Card, ModelDir, SaveType};
pub use engine::{
    AdamUpdate, Arena, Decoder, Engine, FineTuning, LossSum, MuonUpdate, Optimizer, Pooling, Precision, State, Update,
};
pub use finite::{blame, expect_finite};
pub use init::Initialization;
pub use initial_weights::initial_weights;
pub use params::{Layout, Tensor};
pub use rates::{RateGroup, Rates};
