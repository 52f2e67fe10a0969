//! Engines for training: what an engine offers in addition to inference.

use std::ops::Range;

use crate::Result;
use crate::data::Batch;
use crate::device::{Engine, LossSum, Optimizer, Update};
use crate::model::ParamTensor;

/// State of an engine that a checkpoint holds, tensor by tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineState {
    /// Master weights.
    Weights,
    /// Exponential moving average (EMA) of the weights.
    Ema,
    /// First moments of Adam and momentum of Muon.
    Moment1,
    /// Second moments of Adam; Muon has none for hidden matrices.
    Moment2,
}

impl EngineState {
    /// All kinds of state.
    pub const ALL: [EngineState; 4] =
        [EngineState::Weights, EngineState::Ema, EngineState::Moment1, EngineState::Moment2];

    /// Name of the state in checkpoints.
    pub fn name(self) -> &'static str {
        match self {
            EngineState::Weights => "weights",
            EngineState::Ema => "average",
            EngineState::Moment1 => "moment1",
            EngineState::Moment2 => "moment2",
        }
    }
}

/// Gradient bucket: a part of the gradient that is final while the backward pass goes on.
///
/// Ranks can start to all-reduce it early.
pub trait GradientBucket {
    /// Returns the bucket's range in the gradient, in the engine's own order, which is the same on every rank.
    fn range(&self) -> Range<usize>;
    /// Copies the bucket's values to the host and appends them to `out`.
    fn copy_to_host(&self, out: &mut Vec<f32>) -> Result<()>;
}

/// Gradient-ready hook: a callback that receives each [`GradientBucket`] once.
pub type GradientReadyHook<'a> = &'a mut dyn FnMut(&dyn GradientBucket) -> Result<()>;

/// Engine for training: forward and backward passes, gradients and the optimizer's step.
///
/// Weights, gradients and moments stay on its device. They move to or from the host only in methods that have `copy`
/// in their name, and by [`export`](Self::export) and [`import`](Self::import).
pub trait TrainEngine: Engine {
    /// Adds `scale` × the gradient of a batch's summed loss to the gradients (gradient accumulation).
    ///
    /// The forward and the backward pass go over whole images. If the batch has labels and the model a classifier,
    /// the loss of an image is
    /// [`FinetuneObjective::generative_weight`](crate::device::FinetuneObjective::generative_weight) × its nats plus
    /// T × the nats of its class, so that a `scale` of 1 / (B·T) makes means of both. With a weight of 0, pixels are
    /// not scored at all. A masked model requires masked inputs; other models refuse them. The bits do not depend on
    /// how a batch is split into micro-batches or on the number of threads.
    fn accumulate(&mut self, batch: &Batch, scale: f32) -> Result<LossSum>;

    /// Ends a gradient group: a binary tree adds its gradient to those of the earlier groups.
    ///
    /// The next group starts from zero. After the last group, the gradient is the whole batch's. With a single group,
    /// nothing happens.
    fn end_group(&mut self) -> Result<()>;

    /// Returns the squared norm of the present gradient: before [`end_group`](Self::end_group), of the group's
    /// gradient.
    fn squared_norm(&mut self) -> Result<f64>;

    /// Runs [`accumulate`](Self::accumulate) on the last micro-batch of the last group, with a gradient-ready hook.
    ///
    /// This call ends the group, too. Each part of the gradient goes to `ready` as soon as it is final and joined
    /// with the earlier groups, while the rest is still computed. Data parallelism overlaps its all-reduce this way.
    fn accumulate_last(&mut self, batch: &Batch, scale: f32, ready: GradientReadyHook<'_>) -> Result<LossSum>;

    /// Replaces a part of the gradient by `values` from the host, such as its sum over all ranks.
    ///
    /// # Errors
    /// When the number of values is not the range's length.
    fn copy_gradient_in(&mut self, range: Range<usize>, values: &[f32]) -> Result<()>;

    /// Returns a copy of a tensor's gradient on the host, in the order of its shape.
    fn copy_gradient(&mut self, name: &str) -> Result<Vec<f32>>;

    /// Clips the gradient, updates the weights of this engine's optimizer shard, and sets the gradients to zero.
    ///
    /// Returns the global gradient norm before clipping.
    ///
    /// # Errors
    /// When `update` is for another optimizer than the engine's.
    fn step(&mut self, update: &Update) -> Result<f32>;

    /// Returns the optimizer whose moments the engine holds.
    fn optimizer(&self) -> Optimizer;

    /// Returns the number of optimizer steps taken.
    fn steps(&self) -> u64;

    /// Moves the EMA towards the weights by the fraction `share` of their difference, if the engine keeps an EMA.
    fn update_ema(&mut self, share: f32) -> Result<()>;

    /// Exchanges the weights and their EMA.
    ///
    /// A second call restores both. Without an EMA, nothing happens.
    fn swap_ema(&mut self) -> Result<()>;

    /// Returns the range of weights that each rank's engine updates (optimizer shards, ZeRO-1).
    ///
    /// The ranges are contiguous, in the ranks' order, and refer to the engine's own order of weights. There is a
    /// single one if the engine owns all weights.
    fn optimizer_shard(&self) -> Vec<Range<usize>>;

    /// Copies the weights of this engine's optimizer shard to the host and appends them to `out`.
    fn copy_owned_weights(&self, out: &mut Vec<f32>) -> Result<()>;

    /// Overwrites the weights of the other shards with those in `weights`, which holds all shards.
    ///
    /// The ranks that own them have updated them.
    fn set_unowned_weights(&mut self, weights: &[f32]) -> Result<()>;

    /// Returns the tensors that the engine holds of a `state`; for the moments, only those of its shard.
    fn tensors(&self, state: EngineState) -> Vec<ParamTensor>;

    /// Returns a copy of a `state`'s tensor on the host, in the order of its shape.
    fn export(&self, state: EngineState, tensor: &ParamTensor) -> Result<Vec<f32>>;

    /// Loads a saved state after `steps` steps.
    ///
    /// `read` returns the values of each tensor of [`tensors`](Self::tensors), in the order of its shape.
    ///
    /// # Errors
    /// When `read` fails or its values don't fit a tensor; the engine's state is then neither the old nor the new
    /// one.
    fn import(&mut self, steps: u64, read: &mut dyn FnMut(EngineState, &ParamTensor) -> Result<Vec<f32>>)
    -> Result<()>;

    /// Returns the weights alone, tensor after tensor in the order of [`ParamLayout`](crate::model::ParamLayout).
    ///
    /// Everything else is freed before they are copied.
    fn into_weights(self: Box<Self>) -> Result<Vec<f32>>;
}
