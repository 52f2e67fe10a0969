//! Update rule of the hidden matrices; Adam updates everything else whatever the rule.
//!
//! To add an optimizer, write a file with its [`MatrixRule`] and a line in [`super::rules`].

use std::fmt::Debug;
use std::ops::Range;

use igpt_kernels::adam::AdamStep;
use igpt_kernels::{MatRef, Scalar};

use super::context::Cpu;
use super::model::{LinearParams, Model};
use super::packing::WeightsMut;
use crate::device::Update;
use crate::model::LrGroup;

/// Optimizer's update rule of hidden matrices, for whole matrices or bands of rows.
pub(super) trait MatrixRule<S: Scalar>: Debug + Send {
    /// Whether a hidden matrix has a second moment. All have a first moment.
    fn has_second_moment(&self) -> bool;

    /// Bytes of scratch memory per thread, whether [`reserve`](Self::reserve) has allocated it or not.
    fn scratch_bytes(&self) -> usize {
        0
    }

    /// Allocates the scratch memory for `threads` threads.
    fn reserve(&mut self, _threads: usize) {}

    /// Prepares all hidden matrices of the shard before the weights change.
    ///
    /// It may update their first moments (`moment1`, of the whole shard), and may replace their gradients by whatever
    /// [`update_matrix`](Self::update_matrix) needs.
    fn prepare(&mut self, _step: &Step<'_>, _model: &Model<S>, _moment1: &mut [f32], _gradients: &mut [f32]) {}

    /// Updates a hidden matrix. Its second moment is empty if the rule has none.
    fn update_matrix(
        &self,
        step: &Step<'_>,
        product: &LinearParams,
        weights: WeightsMut<'_, S>,
        moments: [&mut [f32]; 2],
        gradient: MatRef<'_, f32>,
    );
}

/// Optimizer step in the form in which an engine takes it.
#[derive(Clone, Debug)]
pub(super) struct Step<'a> {
    pub(super) cpu: Cpu<'a>,
    pub(super) update: &'a Update,
    /// Adam's step, with the scale of all gradients.
    pub(super) adam: AdamStep,
    pub(super) share: Share,
}

impl Step<'_> {
    /// Returns Adam's step for tensors of `group`.
    pub(super) fn adam(&self, group: LrGroup) -> AdamStep {
        AdamStep { lr: self.adam.lr * self.update.rates.adam(group), ..self.adam }
    }
}

/// Shard of the arena that a step changes.
#[derive(Clone, Debug)]
pub(super) struct Share {
    /// Range of whole tensors; the engine holds only their moments.
    pub(super) owned: Range<usize>,
    /// End of the frozen part: owned tensors before it stay unchanged.
    pub(super) frozen: usize,
}

impl Share {
    /// Whether a step changes a tensor.
    pub(super) fn has(&self, tensor: &Range<usize>) -> bool {
        tensor.start >= self.frozen && self.owned.contains(&tensor.start)
    }
}
