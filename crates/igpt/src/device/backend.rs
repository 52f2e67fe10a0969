//! Backends: implementations of the engines for one kind of device.

use serde::Serialize;

use crate::Result;
use crate::device::{Device, Engine, EngineOptions, Precision, TrainEngine, TrainOptions};
use crate::model::ModelConfig;

/// Backend for one kind of device: opens models on it and answers questions that depend on it.
pub trait Backend: Send + Sync {
    /// Returns the backend's devices on this machine, the quickest first; empty if it can't run here.
    fn devices(&self) -> Vec<Device>;

    /// Opens a network for inference with `weights`, tensor after tensor in the order of
    /// [`ParamLayout`](crate::model::ParamLayout).
    ///
    /// # Errors
    /// When the sizes of `network` don't fit together, the number of `weights` is wrong, or memory does not suffice.
    fn open(&self, network: &ModelConfig, weights: &[f32], options: &EngineOptions) -> Result<Box<dyn Engine>>;

    /// Opens a network for training; its EMA, if it keeps one, starts as `weights`.
    ///
    /// # Errors
    /// As [`open`](Self::open). Also when more blocks are to be frozen than there are, or the number of gradient
    /// groups is not a power of two.
    fn open_training(
        &self,
        network: &ModelConfig,
        weights: &[f32],
        options: &TrainOptions,
    ) -> Result<Box<dyn TrainEngine>>;

    /// Returns the number formats that the backend computes in, the quickest first.
    fn precisions(&self) -> &'static [Precision];

    /// Returns the number of tokens in a micro-batch of the default size.
    fn tokens_at_once(&self, threads: usize) -> usize;

    /// Returns the memory of an engine for inference, in bytes.
    fn memory(&self, network: &ModelConfig, options: &EngineOptions) -> EngineMemory;

    /// Returns the memory of an engine for training, in bytes.
    fn train_memory(&self, network: &ModelConfig, options: &TrainOptions) -> EngineMemory;

    /// Returns the memory of a decoder of `rows` images in bytes, mostly its KV cache.
    ///
    /// The weights are not counted, because the decoder shares the engine's.
    fn decoder_memory(&self, network: &ModelConfig, options: &EngineOptions, rows: usize) -> u64;

    /// Returns the memory that is left for engines in bytes, if it can be known.
    fn memory_left(&self) -> Option<u64>;

    /// Returns the name of the arithmetic: the instruction set, or the kind of GPU.
    ///
    /// The bits of results depend on it, besides settings and precision. All ranks must have it in common.
    fn arithmetic_name(&self) -> String;

    /// Returns what a user should know about the backend on this machine.
    fn diagnostics(&self) -> Vec<Diagnostic>;
}

/// Memory of an engine in bytes, by purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EngineMemory {
    /// Master weights, f32.
    pub weights: u64,
    /// Copies of the weights in the layout of the matrix products: one, and for training also a transposed one.
    pub packed: u64,
    /// Gradient, f32.
    pub gradients: u64,
    /// Moments of the optimizer, f32.
    pub moments: u64,
    /// Activations of a micro-batch, and their gradients.
    pub activations: u64,
    /// Scratch memory of the threads.
    pub scratch: u64,
    /// Sums of gradient groups that wait for other groups.
    pub groups: u64,
    /// Exponential moving average (EMA) of the weights, if one is kept.
    pub ema: u64,
}

impl EngineMemory {
    /// Returns the total number of bytes.
    pub fn total(&self) -> u64 {
        let Self { weights, packed, gradients, moments, activations, scratch, groups, ema } = self;
        weights + packed + gradients + moments + activations + scratch + groups + ema
    }
}

/// One line of `igpt doctor` about a device.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// Subject of the line, for example "instruction set".
    pub name: &'static str,
    /// Value that was found, for example "avx512".
    pub found: String,
    /// Meaning of the value, or advice about it.
    pub advice: String,
}
