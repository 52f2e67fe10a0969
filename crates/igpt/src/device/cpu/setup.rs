//! How an engine on the processor is to be opened, with nothing left to others.

use igpt_kernels::Isa;
use igpt_kernels::pool::Pool;

use super::workspace::Passes;
use crate::device::{EngineOptions, TrainOptions};
use crate::model::ModelConfig;

/// The options of an engine, its instruction set, and whether it trains.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    pub(super) isa: Isa,
    pub(super) engine: EngineOptions,
    pub(super) training: Option<TrainOptions>,
}

impl Setup {
    /// For inference.
    pub(super) fn forward(isa: Isa, options: &EngineOptions) -> Self {
        Self { isa, engine: *options, training: None }
    }

    /// For training.
    pub(super) fn training(isa: Isa, options: &TrainOptions) -> Self {
        Self { isa, engine: options.engine, training: Some(*options) }
    }

    /// Threads to compute with.
    pub(super) fn threads(&self) -> usize {
        Pool::team(self.engine.threads)
    }

    /// Images of a micro-batch.
    pub(super) fn images(&self, config: &ModelConfig) -> usize {
        match self.engine.micro_batch {
            0 => (tokens_at_once(self.engine.threads) / config.n_ctx()).max(1),
            images => images,
        }
    }

    /// What the workspace is for.
    pub(super) fn passes(&self) -> Passes {
        match self.training.map(|training| training.recompute) {
            None => Passes::Forward,
            Some(false) => Passes::Keeping,
            Some(true) => Passes::Recomputing,
        }
    }
}

/// Tokens of a micro-batch for so many threads (0: as many as the machine gives) when its size is not said: enough to keep
/// the products efficient, but no more for one thread than its caches like (iGPT-S: 7 % slower with twice as many).
pub(super) fn tokens_at_once(threads: usize) -> usize {
    if Pool::team(threads) == 1 { 2048 } else { 4096 }
}
