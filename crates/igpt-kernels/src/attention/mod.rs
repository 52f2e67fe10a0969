//! Softmax attention of one head, causal or over all positions: forward, backward, and one query over a KV cache.
//!
//! All of it is built from the [micro-kernel](crate::matmul), or matrix instructions in its place, and vertical
//! arithmetic. Scores are computed transposed: the rows of a tile are keys and its lanes are queries. Maximum, sum and
//! rescaling of the softmax then work on whole vectors, and nothing is ever added up across lanes. Exponentials are
//! base 2, with log2(e) folded into the scale.
//!
//! Under a causal mask, blocks of queries meet blocks of keys on and below the diagonal only. The part of a diagonal
//! block above the diagonal is masked, and whole tiles of it are skipped. Without a mask all blocks meet. Memory grows
//! with `n_ctx · head_size`, never with `n_ctx²` (the online softmax of Milakov and Gimelshein 2018; the backward pass
//! recomputes the scores as in Dao et al. 2022). Operands are first copied into zero-padded packed form, at a cost
//! linear in `n_ctx`. The views may therefore have any number of rows, and only whole tiles exist after that. The order
//! of all sums depends on the shape alone.

// The rows and vectors of a tile index several arrays at once.
#![allow(clippy::needless_range_loop)]

mod backward;
mod decode;
mod forward;
mod int8;
mod pack;
mod partial;
mod product;
mod scratch;
#[cfg(test)]
mod tests;
mod tiles;

pub use backward::attention_backward;
pub use decode::{KvShape, PIECE, QueryScratch};
pub use forward::attention_forward;
pub use scratch::AttentionScratch;

/// Kernels that the format's [`Instances`](crate::instances::Instances) run.
pub(crate) mod kernels {
    pub(crate) use super::backward::Backward;
    pub(crate) use super::decode::Attend;
    pub(crate) use super::forward::Forward;
    pub(crate) use super::int8::{Append as Append8, Attend as Attend8};
}

use crate::MatRef;

/// Number of queries and keys per block: a block of scores stays in the L1 cache.
const BLOCK: usize = 64;

/// Number of keys per block of the forward pass: more of them share one rescaling of the output.
const KEYS: usize = 128;

/// Attention mask: the positions that a query attends to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask {
    /// Positions up to the query's own.
    Causal,
    /// All positions.
    None,
}

/// Panics unless `x`, named `name` in the message, has the shape of `q` and a width that is a multiple of 16.
fn check<S>(name: &str, x: MatRef<S>, q: (usize, usize)) {
    assert!(q.1.is_multiple_of(16), "head size {} is no multiple of 16", q.1);
    assert_eq!((x.rows(), x.cols()), q, "{name} must have the shape of q");
}
