//! Devices and engines: the interface between the network's mathematics and everything that uses it.
//!
//! A [`Backend`] opens models on a [`Device`]. It returns an [`Engine`] for inference or a [`TrainEngine`] for
//! training. [`CpuBackend`] is one backend. The rest of this library knows only this interface, so a program can
//! [`register`] another backend.
//!
//! ```
//! use igpt::data::Batch;
//! use igpt::device::{self, Engine, EngineOptions, Precision};
//! use igpt::image::ImageSize;
//! use igpt::model::ModelConfig;
//!
//! # fn main() -> igpt::Result<()> {
//! let network = ModelConfig::new(ImageSize::square(8), 6, 16, 1, 2); // 6 colours, width 16, 1 block, 2 heads
//! let mut engine = device::init(&network, 0, &EngineOptions::new(Precision::F32))?;
//! let loss = engine.evaluate(&Batch::new(vec![3; 64], 64))?;
//! assert!((loss.mean() - 6f64.ln()).abs() < 1e-4); // an untrained model is uniform over the colours
//! # Ok(())
//! # }
//! ```

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
pub use finite::{expect_finite, name_suspect_weight};
pub use name::Device;
pub use optimizer::{AdamUpdate, HiddenUpdate, MuonUpdate, Optimizer, Update};
pub use options::{EngineOptions, FinetuneObjective, Precision, TrainOptions};
pub use registry::{backend, backends, init, init_training, open, open_training, register, resolve};
pub use train_engine::{EngineState, GradientBucket, GradientReadyHook, TrainEngine};
