//! Setup of an engine on the CPU, with all defaults resolved.

use igpt_kernels::Isa;
use igpt_kernels::pool::Pool;

use super::workspace::Passes;
use crate::device::{EngineOptions, TrainOptions};
use crate::model::ModelConfig;

/// Options of an engine, its instruction set, and whether it trains.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    pub(super) isa: Isa,
    pub(super) engine: EngineOptions,
    pub(super) training: Option<TrainOptions>,
}

impl Setup {
    /// Returns the setup for inference.
    pub(super) fn forward(isa: Isa, options: &EngineOptions) -> Self {
        Self { isa, engine: *options, training: None }
    }

    /// Returns the setup for training.
    pub(super) fn training(isa: Isa, options: &TrainOptions) -> Self {
        Self { isa, engine: options.engine, training: Some(*options) }
    }

    /// Number of threads to compute with.
    pub(super) fn threads(&self) -> usize {
        Pool::thread_count(self.engine.threads)
    }

    /// Number of images in a micro-batch.
    pub(super) fn images(&self, config: &ModelConfig) -> usize {
        match self.engine.micro_batch {
            0 => (tokens_at_once(self.engine.threads) / config.n_ctx()).max(1),
            images => images,
        }
    }

    /// Passes that the workspace is for.
    pub(super) fn passes(&self) -> Passes {
        match self.training.map(|training| training.recompute) {
            None => Passes::Forward,
            Some(false) => Passes::Keeping,
            Some(true) => Passes::Recomputing,
        }
    }
}

/// Default number of tokens in a micro-batch for `threads` threads (0: all cores of the machine).
///
/// It is large enough to keep the products efficient. For a single thread it is no more than its caches suit (iGPT-S:
/// 7 % slower with twice as many).
pub(super) fn tokens_at_once(threads: usize) -> usize {
    if Pool::thread_count(threads) == 1 { 2048 } else { 4096 }
}
