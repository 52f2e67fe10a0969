//! Scratch memory of one attention head, allocated once per thread.

use super::tiles::SPAN;
use super::{BLOCK, KEYS};
use crate::{Buffer, Scalar};

/// Scratch memory of an attention head, `O(n_ctx · head_size)`.
///
/// [`attention_forward`](super::attention_forward) and [`attention_backward`](super::attention_backward) use it. Its
/// content between calls never influences a result.
#[derive(Debug)]
pub struct AttentionScratch {
    memory: Buffer<u32>,
}

impl AttentionScratch {
    /// Allocates memory for heads of format `S` with at most `n_ctx` positions and `head_size` columns.
    pub fn new<S: Scalar>(n_ctx: usize, head_size: usize) -> Self {
        let shape = Shape::new::<S>(n_ctx, head_size);
        let units = shape.forward().iter().sum::<usize>().max(shape.backward().iter().sum());
        Self { memory: Buffer::zeroed(units) }
    }

    /// Size in bytes.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.memory[..])
    }

    /// Sets every unit to `unit`.
    #[cfg(test)]
    pub(super) fn fill(&mut self, unit: u32) {
        self.memory.fill(unit);
    }

    /// Splits the memory into slices of the given lengths. Panics if it is too small for them.
    pub(super) fn split<const N: usize>(&mut self, lengths: [usize; N]) -> [&mut [u32]; N] {
        let mut rest: &mut [u32] = &mut self.memory;
        let needed = lengths.iter().sum::<usize>();
        assert!(needed <= rest.len(), "scratch of {} units, {needed} needed: made for a smaller head", rest.len());
        lengths.map(|length| {
            let (slice, after) = std::mem::take(&mut rest).split_at_mut(length);
            rest = after;
            slice
        })
    }
}

/// Sizes of one head that determine its scratch memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Number of positions, rounded up to whole blocks.
    pub padded: usize,
    /// Number of columns.
    pub head_size: usize,
    /// Number of values per unit.
    pub pack: usize,
}

impl Shape {
    pub(super) fn new<S: Scalar>(n_ctx: usize, head_size: usize) -> Self {
        Self { padded: n_ctx.next_multiple_of(BLOCK), head_size, pack: S::PACK }
    }
    /// Number of units in all rows of q, k or v, in any packed format.
    pub(super) fn matrix(self) -> usize {
        self.padded * self.head_size / self.pack
    }
    /// Lengths of: k rows, v pairs, q rows, q columns, scores, probabilities, their rows, output.
    pub(super) fn forward(self) -> [usize; 8] {
        let (m, p) = (self.matrix(), KEYS / self.pack);
        [m, m, m, m, KEYS * SPAN, p * BLOCK, p * SPAN, BLOCK * self.head_size]
    }
    /// Lengths of: rows, columns and pairs of q and dout (six), rows and pairs of k, rows of v; dq, dk, dv; lse,
    /// delta; p rows, ds rows, ds pairs; scores, gradients of probabilities and turned ds of a span.
    pub(super) fn backward(self) -> [usize; 20] {
        let (matrix, block) = (self.matrix(), BLOCK * BLOCK / self.pack);
        let (all, one) = (self.padded * self.head_size, BLOCK * self.head_size);
        let [m, b, t] = [matrix, block, self.padded];
        let span = SPAN * SPAN;
        [m, m, m, m, m, m, m, m, m, all, one, one, t, t, b, b, b, span, span, BLOCK / self.pack * SPAN]
    }
}
