//! Devices and engines: the interface between the network's mathematics and everything that uses it.
//!
//! A [`Backend`] opens models on a [`Device`]. It returns an [`Engine`] for inference or a [`TrainEngine`] for
//! training. [`CpuBackend`] is one backend. The rest of this library knows only this interface, so a program can
//! [`register`] another backend.

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
