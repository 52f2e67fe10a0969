//! The seam between the mathematics and everything that uses it: devices, the backends that open models on them, and
//! engines for inference and for training.
//!
//! `cpu` is one backend. Everything else in this library knows only what is here, so that a program can
//! [`register`] another.

mod backend;
pub(crate) mod cpu;
mod engine;
mod finite;
mod name;
mod optimizer;
mod options;
mod registry;
mod train_engine;

pub use backend::{Backend, Diagnostic, EngineMemory};
pub use cpu::CpuBackend;
pub use engine::{Decoder, Engine, LossSum, Pooling};
pub use finite::{blame, expect_finite};
pub use name::Device;
pub use optimizer::{AdamUpdate, HiddenUpdate, MuonUpdate, Optimizer, Update};
pub use options::{EngineOptions, FinetuneObjective, Precision, TrainOptions};
pub use registry::{backend, backends, init, init_training, open, open_training, register, resolve};
pub use train_engine::{EngineState, GradientBucket, GradientReadyHook, TrainEngine};
