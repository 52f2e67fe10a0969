//! How engines are opened: for inference, and for training.

use crate::device::{Device, Optimizer};
use crate::model::ModelConfig;
use crate::setters::setters;
use crate::{Error, Result};

/// The number format of weights and activations inside matrix products. Sums are always f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// bfloat16 operands, f32 sums, f32 residual stream and master weights.
    Bf16,
    /// Everything f32: what parity is measured with.
    F32,
}

impl Precision {
    /// Both formats.
    pub const ALL: [Precision; 2] = [Precision::Bf16, Precision::F32];

    /// Its name in configs and flags.
    pub fn name(self) -> &'static str {
        match self {
            Precision::Bf16 => "bf16",
            Precision::F32 => "f32",
        }
    }
}

/// What fine-tuning changes about training.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct FinetuneObjective {
    /// Weight of the generative loss beside that of the classes: 1 in the paper.
    pub generative_weight: f32,
    /// The first blocks that keep their weights, and the embeddings with them; 0 trains everything.
    pub frozen_blocks: usize,
    /// Label smoothing of the classes' loss in training (Szegedy et al. 2016, section 7): the target is the label with a
    /// share of 1 - this, and all classes alike with the rest. 0 trains on the labels as they are. Evaluation ignores it.
    pub label_smoothing: f32,
}

impl Default for FinetuneObjective {
    fn default() -> Self {
        Self { generative_weight: 1.0, frozen_blocks: 0, label_smoothing: 0.0 }
    }
}

/// How an engine computes.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct EngineOptions {
    /// Where.
    pub device: Device,
    /// Number format of the matrix products.
    pub precision: Precision,
    /// Threads of the host; 0 means as many as the machine (or its container) gives.
    pub threads: usize,
    /// Images that go through the network at once; 0 leaves it to the backend. Changes no bits.
    pub micro_batch: usize,
    /// Whether each block's weights are packed for the products when a pass comes to it, instead of being kept packed:
    /// less memory, a little more time, and no drawing. Changes no bits.
    pub stream_weights: bool,
    /// Whether decoders hold weights, keys and values with 8 bits: faster, for a slightly worse likelihood.
    pub int8: bool,
}

impl EngineOptions {
    /// On the quickest device, on all cores.
    pub fn new(precision: Precision) -> Self {
        Self { device: Device::Auto, precision, threads: 0, micro_batch: 0, stream_weights: false, int8: false }
    }
}

setters!(EngineOptions { device: Device, threads: usize, micro_batch: usize, stream_weights: bool, int8: bool });

/// How an engine computes that trains.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct TrainOptions {
    /// What inference has, too.
    pub engine: EngineOptions,
    /// Whose moments are held.
    pub optimizer: Optimizer,
    /// Gradient groups of a batch that this engine computes, a power of two: it keeps the sums of those that wait for
    /// others. See [`TrainEngine::end_group`](crate::device::TrainEngine::end_group).
    pub gradient_groups: usize,
    /// Whether an exponential average of the weights (EMA) is kept.
    pub ema: bool,
    /// Whether the backward pass computes each block's activations again instead of keeping them (activation
    /// checkpointing): a third more arithmetic, a fraction of the memory. Changes no bits.
    pub recompute: bool,
    /// What is different when the classifier on top is trained.
    pub fine_tuning: FinetuneObjective,
    /// Which share of the parameters a step updates and whose moments are held, of how many (sharded optimizer state,
    /// ZeRO-1): this rank among all.
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
    /// With Adam, on the quickest device, on all cores.
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

    /// Refuses what no backend can open.
    ///
    /// # Errors
    /// More frozen blocks than `network` has, and gradient groups that are no power of two, and a share that there is not.
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
