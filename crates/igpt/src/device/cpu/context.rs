//! Context of every part of a pass: instruction set, threads and the batch's shape.

use igpt_kernels::Isa;
use igpt_kernels::pool::Pool;

/// A batch of sequences of equal length going through the network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Sequences, B.
    pub(crate) images: usize,
    /// Positions of each sequence, at most n_ctx.
    pub(crate) len: usize,
}

impl Shape {
    pub(crate) fn rows(self) -> usize {
        self.images * self.len
    }
}

/// Instruction set and threads that compute.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpu<'a> {
    pub(crate) isa: Isa,
    pub(crate) pool: &'a Pool,
}
