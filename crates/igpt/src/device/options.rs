//! Options of engines, for inference and for training.

use crate::device::{Device, Optimizer};
use crate::model::ModelConfig;
use crate::setters::setters;
use crate::{Error, Result};

/// Number format of weights and activations inside matrix products; sums are always f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// bfloat16 operands, with f32 sums, residual stream and master weights.
    Bf16,
    /// f32 for everything; parity is measured with it.
    F32,
}

impl Precision {
    /// Both number formats.
    pub const ALL: [Precision; 2] = [Precision::Bf16, Precision::F32];

    /// Name of the format in configs and flags.
    pub fn name(self) -> &'static str {
        match self {
            Precision::Bf16 => "bf16",
            Precision::F32 => "f32",
        }
    }
}

/// Training objective and frozen blocks of fine-tuning.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct FinetuneObjective {
    /// Weight of the generative loss relative to the classification loss: 1 in the paper.
    pub generative_weight: f32,
    /// Number of first blocks that keep their weights, and the embeddings with them; 0 trains everything.
    pub frozen_blocks: usize,
    /// Label smoothing of the classification loss in training (Szegedy et al. 2016, section 7).
    ///
    /// With the value ε, the target is 1 - ε times the label plus ε times the uniform distribution over the classes.
    /// 0 trains on the labels as they are. Evaluation ignores it.
    pub label_smoothing: f32,
}

impl Default for FinetuneObjective {
    fn default() -> Self {
        Self { generative_weight: 1.0, frozen_blocks: 0, label_smoothing: 0.0 }
    }
}

/// Options of an engine for inference: device, number format, threads and memory.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct EngineOptions {
    /// Device that computes.
    pub device: Device,
    /// Number format of the matrix products.
    pub precision: Precision,
    /// Number of threads on the host; 0 uses all cores of the machine or its container.
    pub threads: usize,
    /// Number of images that go through the network at once; 0 leaves it to the backend.
    ///
    /// It does not change the bits of results.
    pub micro_batch: usize,
    /// Whether the weights of each block are packed for the matrix products only when a pass reaches the block.
    ///
    /// By default they stay packed. Streaming takes less memory and a little more time, and such an engine has no
    /// decoders. It does not change the bits of results.
    pub stream_weights: bool,
    /// Whether decoders hold weights, keys and values with 8 bits: faster, for a slightly worse likelihood.
    pub int8: bool,
}

impl EngineOptions {
    /// Returns options for the quickest device and all cores.
    pub fn new(precision: Precision) -> Self {
        Self { device: Device::Auto, precision, threads: 0, micro_batch: 0, stream_weights: false, int8: false }
    }
}

setters!(EngineOptions { device: Device, threads: usize, micro_batch: usize, stream_weights: bool, int8: bool });

/// Options of an engine for training.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct TrainOptions {
    /// Options that inference has, too.
    pub engine: EngineOptions,
    /// Optimizer whose moments the engine holds.
    pub optimizer: Optimizer,
    /// Number of gradient groups of a batch that this engine computes, a power of two.
    ///
    /// The engine keeps the sums of groups that wait for others. See
    /// [`TrainEngine::end_group`](crate::device::TrainEngine::end_group).
    pub gradient_groups: usize,
    /// Whether the engine keeps an exponential moving average (EMA) of the weights.
    pub ema: bool,
    /// Whether the backward pass recomputes each block's activations (activation checkpointing).
    ///
    /// This takes a third more arithmetic and a fraction of the memory. It does not change the bits of results.
    pub recompute: bool,
    /// Objective of fine-tuning, when the classifier on top is trained.
    pub fine_tuning: FinetuneObjective,
    /// Optimizer shard of this engine as (rank, number of ranks) (ZeRO-1).
    ///
    /// A step updates only this share of the parameters, and the engine holds only its moments.
    pub share: (usize, usize),
}

setters!(TrainOptions {
    engine: EngineOptions,
    optimizer: Optimizer,
    gradient_groups: usize,
    ema: bool,
    recompute: bool
});

impl TrainOptions {
    /// Returns options for Adam on the quickest device and all cores.
    pub fn new(precision: Precision) -> Self {
        Self {
            engine: EngineOptions::new(precision),
            optimizer: Optimizer::Adam,
            gradient_groups: 1,
            ema: false,
            recompute: false,
            fine_tuning: FinetuneObjective::default(),
            share: (0, 1),
        }
    }

    /// Refuses options that no backend can open.
    ///
    /// # Errors
    /// When more blocks are frozen than `network` has, the number of gradient groups is not a power of two, or the
    /// shard's rank is not below the number of ranks.
    pub fn validate(&self, network: &ModelConfig) -> Result<()> {
        let (frozen, blocks, groups) = (self.fine_tuning.frozen_blocks, network.n_layer, self.gradient_groups);
        if frozen > blocks {
            return Err(Error::Invalid(format!("{frozen} blocks are to be frozen, but the model has {blocks}")));
        }
        let (share, shares) = self.share;
        if share >= shares {
            return Err(Error::Invalid(format!("share {share} of {shares} is none: shares are counted from 0")));
        }
        if !groups.is_power_of_two() {
            return Err(Error::Invalid(format!("train.gradient_groups is {groups}, but must be a power of two")));
        }
        Ok(())
    }
}
