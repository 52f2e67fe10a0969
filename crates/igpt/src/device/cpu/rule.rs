//! What updates the hidden matrices of a network; everything else is Adam's whatever the rule.
//!
//! Another optimizer is a file with its [`MatrixRule`] and a line in [`super::rules`].

use std::fmt::Debug;
use std::ops::Range;

use igpt_kernels::adam::AdamStep;
use igpt_kernels::{MatRef, Scalar};

use super::context::Cpu;
use super::model::{LinearParams, Model};
use super::packing::WeightsMut;
use crate::device::Update;
use crate::model::LrGroup;

/// How an optimizer updates hidden matrices, whole ones or by bands of rows.
pub(super) trait MatrixRule<S: Scalar>: Debug + Send {
    /// Whether a hidden matrix has a second moment. All have a first.
    fn has_second_moment(&self) -> bool;

    /// Bytes that each thread needs for itself, whether [`reserve`](Self::reserve) took them or not.
    fn scratch_bytes(&self) -> usize {
        0
    }

    /// Takes that memory for so many threads.
    fn reserve(&mut self, _threads: usize) {}

    /// What is done to all of the share's hidden matrices before the weights change: their first moments, `moment1` of the
    /// whole share, may move, and their gradients may become whatever [`update_matrix`](Self::update_matrix) wants in their place.
    fn prepare(&mut self, _step: &Step<'_>, _model: &Model<S>, _moment1: &mut [f32], _gradients: &mut [f32]) {}

    /// Changes a hidden matrix, whose second moment is empty where it has none.
    fn update_matrix(
        &self,
        step: &Step<'_>,
        product: &LinearParams,
        weights: WeightsMut<'_, S>,
        moments: [&mut [f32]; 2],
        gradient: MatRef<'_, f32>,
    );
}

/// A step, as an engine takes it.
#[derive(Clone, Debug)]
pub(super) struct Step<'a> {
    pub(super) cpu: Cpu<'a>,
    pub(super) update: &'a Update,
    /// Adam's, with what all gradients are scaled by.
    pub(super) adam: AdamStep,
    pub(super) share: Share,
}

impl Step<'_> {
    /// Adam's step of tensors of `group`.
    pub(super) fn adam(&self, group: LrGroup) -> AdamStep {
        AdamStep { lr: self.adam.lr * self.update.rates.adam(group), ..self.adam }
    }
}

/// What a step changes of the arena.
#[derive(Clone, Debug)]
pub(super) struct Share {
    /// Whole tensors; the moments are theirs alone.
    pub(super) owned: Range<usize>,
    /// Of these, what lies before this stays as it is.
    pub(super) frozen: usize,
}

impl Share {
    /// Whether a tensor is changed.
    pub(super) fn has(&self, tensor: &Range<usize>) -> bool {
        tensor.start >= self.frozen && self.owned.contains(&tensor.start)
    }
}
