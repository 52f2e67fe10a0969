//! The hand-written CPU engine: forward, backward, decoding and the optimiser.
//!
//! Which pieces of work run in parallel is decided here; what a piece computes is in `igpt-kernels`. Reading order:
//! `engine` (the trait's implementation), `forward`, `head`, `classes`, `backward` with `weights`, `update` with
//! `muon`, `decoder`; `model` and `workspace` are what they work on.

mod backward;
mod classes;
mod decoder;
mod dims;
mod engine;
mod forward;
mod head;
mod memory;
mod model;
mod muon;
mod update;
mod weights;
mod workspace;

#[cfg(test)]
mod tests;

pub use igpt_kernels::Isa;
use igpt_kernels::pool::Pool;
pub use memory::{Memory, decoder_memory, memory};
use workspace::Passes;

use crate::machine::expect_memory;
use crate::model::{Engine, FineTuning, Initialization, Layout, ModelConfig, Optimizer, Precision, initial_weights};
use crate::{Error, Result};

/// How an engine computes.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Number format of the matrix products.
    pub precision: Precision,
    /// Threads; 0 means as many as the machine (or its container) gives.
    pub threads: usize,
    /// Instruction set; the best one of this processor by default.
    pub isa: Isa,
    /// The optimiser whose moments are held, beside gradients, so that the engine can train; none: forward only.
    pub training: Option<Optimizer>,
    /// Images that go through the network at once; 0 chooses about [`tokens_at_once`]. Changes no bits.
    pub micro_batch: usize,
    /// Whether the backward pass computes each block's activations again instead of keeping them: a third more
    /// arithmetic, a fraction of the memory. Changes no bits.
    pub recompute: bool,
    /// Whether each block's weights are packed for the products when a pass comes to it, instead of being kept packed:
    /// less memory, a little more time, and no drawing. Changes no bits.
    pub repack: bool,
    /// Whether decoders hold weights, keys and values with 8 bits: faster, for a slightly worse likelihood.
    pub int8: bool,
    /// What is different when the classifier on top is trained.
    pub fine_tuning: FineTuning,
    /// Which share of the parameters a step updates and whose moments are held, of how many: see [`Layout::share`].
    pub share: (usize, usize),
}

/// Tokens of a micro-batch for so many threads (0: as many as the machine gives) when its size is not said: enough to keep
/// the products efficient, but no more for one thread than its caches like (iGPT-S: 7 % slower with twice as many).
pub fn tokens_at_once(threads: usize) -> usize {
    if threads_or_all(threads) == 1 { 2048 } else { 4096 }
}

fn threads_or_all(threads: usize) -> usize {
    Pool::team(threads)
}

/// The format in which this processor multiplies fastest: bfloat16 only where it has instructions for it.
pub fn quickest_precision() -> Precision {
    if Isa::detect().multiplies_bf16() { Precision::Bf16 } else { Precision::F32 }
}

impl Options {
    /// Forward only, on all cores.
    pub fn inference(precision: Precision) -> Self {
        Self {
            precision,
            threads: 0,
            isa: Isa::detect(),
            training: None,
            micro_batch: 0,
            recompute: false,
            repack: false,
            int8: false,
            fine_tuning: FineTuning::default(),
            share: (0, 1),
        }
    }

    /// For training with Adam, on all cores.
    pub fn training(precision: Precision) -> Self {
        Self { training: Some(Optimizer::Adam), ..Self::inference(precision) }
    }

    /// Threads to compute with.
    fn threads(&self) -> usize {
        threads_or_all(self.threads)
    }

    /// Images of a micro-batch.
    fn images(&self, config: &ModelConfig) -> usize {
        if self.micro_batch == 0 { (tokens_at_once(self.threads) / config.n_ctx()).max(1) } else { self.micro_batch }
    }

    fn passes(&self) -> Passes {
        match (self.training.is_some(), self.recompute) {
            (false, _) => Passes::Forward,
            (true, false) => Passes::Keeping,
            (true, true) => Passes::Recomputing,
        }
    }
}

/// An engine for `config` with `weights`, an arena as [`Layout`] lays it out.
///
/// # Errors
/// When the sizes of `config` don't fit together, `weights` has another length than its layout, or more blocks are to
/// be frozen than there are.
pub fn open(config: &ModelConfig, weights: &[f32], options: Options) -> Result<Box<dyn Engine>> {
    config.validate()?;
    let len = Layout::new(config).arena_len();
    let frozen = options.fine_tuning.frozen_blocks;
    if frozen > config.n_layer {
        return Err(Error::Invalid(format!("{frozen} blocks are to be frozen, but the model has {}", config.n_layer)));
    }
    if weights.len() != len {
        return Err(Error::Mismatch(format!("{} weights were given, but the model has {len}", weights.len())));
    }
    if options.training.is_none() {
        // What training takes is settled with its batches.
        expect_memory(memory(config, &options).total(), || "the network with its activations".into())?;
    }
    Ok(match options.precision {
        Precision::F32 => Box::new(engine::CpuEngine::<f32>::new(config, weights, options)),
        Precision::Bf16 => Box::new(engine::CpuEngine::<igpt_kernels::bf16>::new(config, weights, options)),
    })
}

/// A freshly initialised engine (official code's initial values, drawn from `seed`).
///
/// # Errors
/// As [`open`].
pub fn init(config: &ModelConfig, seed: u64, options: Options) -> Result<Box<dyn Engine>> {
    config.validate()?;
    open(config, &initial_weights(config, Initialization::Paper, seed), options)
}
