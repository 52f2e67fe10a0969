//! What computes on a kind of device.

use serde::Serialize;

use crate::Result;
use crate::device::{Device, Engine, EngineOptions, Precision, TrainEngine, TrainOptions};
use crate::model::ModelConfig;

/// Opens models on devices of its kind, and answers what depends on them.
pub trait Backend: Send + Sync {
    /// Its devices on this machine, the quickest first; none where it can't run.
    fn devices(&self) -> Vec<Device>;

    /// Opens a network with `weights`, tensor after tensor as [`ParamLayout`](crate::model::ParamLayout) lists them.
    ///
    /// # Errors
    /// When the sizes of `network` don't fit together, `weights` are more or fewer than it has, or memory does not
    /// suffice.
    fn open(&self, network: &ModelConfig, weights: &[f32], options: &EngineOptions) -> Result<Box<dyn Engine>>;

    /// Opens a network to train it; its average, if one is kept, starts as `weights`.
    ///
    /// # Errors
    /// As [`open`](Self::open), and when more blocks are to be frozen than there are, or gradient groups are no power of
    /// two.
    fn open_training(
        &self,
        network: &ModelConfig,
        weights: &[f32],
        options: &TrainOptions,
    ) -> Result<Box<dyn TrainEngine>>;

    /// Number formats that it computes in, the quickest first.
    fn precisions(&self) -> &'static [Precision];

    /// Tokens of a micro-batch when its size is not said.
    fn tokens_at_once(&self, threads: usize) -> usize;

    /// Bytes of an engine for inference.
    fn memory(&self, network: &ModelConfig, options: &EngineOptions) -> EngineMemory;

    /// Bytes of an engine that trains.
    fn train_memory(&self, network: &ModelConfig, options: &TrainOptions) -> EngineMemory;

    /// Bytes of a decoder of `rows` images, keys and values mostly, beside the engine that it shares the weights with.
    fn decoder_memory(&self, network: &ModelConfig, options: &EngineOptions, rows: usize) -> u64;

    /// Bytes that are left for engines, where that can be known.
    fn memory_left(&self) -> Option<u64>;

    /// What the bits of results depend on beside settings and precision: the instruction set, or the kind of GPU. Ranks
    /// have it in common.
    fn arithmetic(&self) -> String;

    /// What a person should know of it on this machine.
    fn findings(&self) -> Vec<Diagnostic>;
}

/// Bytes of an engine by what they hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EngineMemory {
    /// The master weights, f32.
    pub weights: u64,
    /// Their copies in the layout of the matrix products: one, and when training a transposed one.
    pub packed: u64,
    /// The gradient, f32.
    pub gradients: u64,
    /// The optimizer's moments, f32.
    pub moments: u64,
    /// Activations of a micro-batch, and their gradients.
    pub activations: u64,
    /// What threads need for themselves.
    pub scratch: u64,
    /// Sums of gradient groups that wait for others.
    pub groups: u64,
    /// The exponential moving average (EMA) of the weights, if one is kept.
    pub ema: u64,
}

impl EngineMemory {
    /// All of it.
    pub fn total(&self) -> u64 {
        let Self { weights, packed, gradients, moments, activations, scratch, groups, ema } = self;
        weights + packed + gradients + moments + activations + scratch + groups + ema
    }
}

/// One thing that `igpt doctor` says of a device.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// What it is about: "instruction set".
    pub name: &'static str,
    /// What was found: "avx512".
    pub found: String,
    /// What that means, or what to do about it.
    pub advice: String,
}
