//! Training: what an engine has beside inference.

use std::ops::Range;

use crate::Result;
use crate::data::Batch;
use crate::device::{Engine, LossSum, Optimizer, Update};
use crate::model::ParamTensor;

/// What a checkpoint holds of an engine, tensor by tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineState {
    /// Master weights.
    Weights,
    /// Their exponential average.
    Ema,
    /// Adam's first moments and Muon's momentum.
    Moment1,
    /// Adam's second moments; Muon has none for hidden matrices.
    Moment2,
}

impl EngineState {
    /// All of them.
    pub const ALL: [EngineState; 4] =
        [EngineState::Weights, EngineState::Ema, EngineState::Moment1, EngineState::Moment2];

    /// Its name in checkpoints.
    pub fn name(self) -> &'static str {
        match self {
            EngineState::Weights => "weights",
            EngineState::Ema => "average",
            EngineState::Moment1 => "moment1",
            EngineState::Moment2 => "moment2",
        }
    }
}

/// A part of the gradient that is final while the backward pass goes on (a bucket), so that ranks can sum it early.
pub trait GradientBucket {
    /// Its place in the gradient, in the engine's own order, which is the same on every rank.
    fn range(&self) -> Range<usize>;
    /// Copies its values to the host, behind what `out` has.
    fn copy_to_host(&self, out: &mut Vec<f32>) -> Result<()>;
}

/// Is given each [`GradientBucket`] once.
pub type GradientReadyHook<'a> = &'a mut dyn FnMut(&dyn GradientBucket) -> Result<()>;

/// An engine that trains. Weights, gradients and moments stay on its device: what comes to the host or from it does so
/// in calls that have `copy` in their name, or by [`export`](Self::export) and [`import`](Self::import).
pub trait TrainEngine: Engine {
    /// Forward and backward over whole images: adds `scale` × the gradient of the summed loss to the gradients. Where
    /// the batch has labels and the model a classifier, the loss of an image is
    /// [`FinetuneObjective::generative_weight`](crate::device::FinetuneObjective::generative_weight) × its nats plus T × the nats of
    /// its class, so that 1 / (B·T) makes means of both; with a weight of 0 pixels are not scored at all. A model of
    /// masked pixels wants masked inputs, another wants none. The bits do not depend on how a batch is cut into
    /// micro-batches or on the number of threads.
    fn accumulate(&mut self, batch: &Batch, scale: f32) -> Result<LossSum>;

    /// Ends a gradient group: its gradient joins those of the groups before by a binary tree, and the next group starts
    /// from zero. After the last group the gradient is the whole batch's. Nothing happens where there is one group.
    fn end_group(&mut self) -> Result<()>;

    /// The squared norm of the gradient as it stands: before [`end_group`](Self::end_group) that of the group.
    fn squared_norm(&mut self) -> Result<f64>;

    /// As [`accumulate`](Self::accumulate) of the last micro-batch of the last group, which it ends, too: each part of
    /// the gradient goes to `ready` when it is final, joined with the groups before, while the rest is computed. (The
    /// gradient-ready hook of data-parallel training.)
    fn accumulate_last(&mut self, batch: &Batch, scale: f32, ready: GradientReadyHook<'_>) -> Result<LossSum>;

    /// Replaces a part of the gradient by `values` of the host, such as its sum over all ranks.
    ///
    /// # Errors
    /// When they are more or fewer than the range is long.
    fn copy_gradient_in(&mut self, range: Range<usize>, values: &[f32]) -> Result<()>;

    /// The gradient of a tensor copied to the host, in the order of its shape.
    fn copy_gradient(&mut self, name: &str) -> Result<Vec<f32>>;

    /// Clips, updates the weights of this engine's share and sets the gradients to zero; gives the global gradient norm
    /// before clipping. An update of another optimizer than the engine's is an error.
    fn step(&mut self, update: &Update) -> Result<f32>;

    /// The optimizer whose moments it holds.
    fn optimizer(&self) -> Optimizer;

    /// Steps taken.
    fn steps(&self) -> u64;

    /// Moves the average of the weights towards them by `share` of the way, if one is kept.
    fn update_ema(&mut self, share: f32) -> Result<()>;

    /// Puts the average in the weights' place and keeps these in its own, or the other way round; nothing where no
    /// average is kept.
    fn swap_ema(&mut self) -> Result<()>;

    /// The parts of the weights that each rank's engine updates, in the ranks' order and one behind the other: places in
    /// the engine's own order. A single one where the engine owns all.
    fn optimizer_shard(&self) -> Vec<Range<usize>>;

    /// Copies the weights of this engine's share to the host, behind what `out` has.
    fn copy_owned_weights(&self, out: &mut Vec<f32>) -> Result<()>;

    /// Takes over the weights of the other shares from `weights`, which holds all shares: their owners have updated them.
    fn set_unowned_weights(&mut self, weights: &[f32]) -> Result<()>;

    /// The tensors that it holds of a `state`; of the moments those of its share.
    fn tensors(&self, state: EngineState) -> Vec<ParamTensor>;

    /// The values of a tensor of a `state`, copied to the host in the order of its shape.
    fn export(&self, state: EngineState, tensor: &ParamTensor) -> Result<Vec<f32>>;

    /// Takes over a saved state after `steps` steps: `read` gives the values of each tensor of [`tensors`](Self::tensors),
    /// in the order of its shape. After an error the engine's state is neither the old nor the new one.
    fn import(&mut self, steps: u64, read: &mut dyn FnMut(EngineState, &ParamTensor) -> Result<Vec<f32>>)
    -> Result<()>;

    /// The weights alone, tensor after tensor as [`ParamLayout`](crate::model::ParamLayout) lists them; everything else is freed
    /// before they are copied.
    fn into_weights(self: Box<Self>) -> Result<Vec<f32>>;
}
