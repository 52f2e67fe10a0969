//! Partial attention over one piece of the KV cache, and the merging of pieces.
//!
//! For every head, a piece yields three results: the sum of its values, each weighted with 2^(score − the largest score
//! of the piece), that largest score, and the sum of the weights. These suffice to put several pieces on one scale (as
//! in Milakov and Gimelshein 2018).

use super::KvShape;
use crate::Scalar;
use crate::isa::{Isa, Kernel};
use crate::simd::Simd;

/// Space for the largest score and the sum of the weights after the values of a head: a whole vector.
const TAIL: usize = 16;

impl KvShape {
    /// Number of values in the partial result of one query over one piece.
    pub fn partial_len(self) -> usize {
        self.n_head * (self.head_size + TAIL)
    }

    /// Splits a partial result into the values of each head, in order, and its largest score and sum of weights.
    #[inline(always)]
    pub(super) fn partials_mut(self, partial: &mut [f32]) -> impl Iterator<Item = (&mut [f32], &mut [f32])> {
        partial.chunks_exact_mut(self.head_size + TAIL).map(move |head| head.split_at_mut(self.head_size))
    }

    /// Merges the partial results of one query over all pieces, in their order, into `out` (all heads).
    ///
    /// Panics on wrong lengths.
    pub fn merge<'a, S: Scalar>(self, isa: Isa, partials: impl Iterator<Item = &'a [f32]> + Clone, out: &mut [S]) {
        assert_eq!(out.len(), self.width(), "what all heads see");
        assert!(partials.clone().all(|partial| partial.len() == self.partial_len()), "what a query sees of a piece");
        isa.run(Merge { head_size: self.head_size, partials, out });
    }
}

struct Merge<'a, P, S> {
    head_size: usize,
    partials: P,
    out: &'a mut [S],
}

impl<'a, P: Iterator<Item = &'a [f32]> + Clone, S: Scalar> Kernel for Merge<'_, P, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self, simd: V) {
        let width = self.head_size;
        for (head, out) in self.out.chunks_exact_mut(width).enumerate() {
            let pieces = self.partials.clone().map(|partial| &partial[head * (width + TAIL)..][..width + TAIL]);
            let mut column = 0;
            while column + 4 * V::LANES <= width {
                merge::<V, S, 4>(simd, pieces.clone(), width, column, out);
                column += 4 * V::LANES;
            }
            while column < width {
                merge::<V, S, 1>(simd, pieces.clone(), width, column, out);
                column += V::LANES;
            }
        }
    }
}

/// `NV` vectors of one head's output from `column`.
#[inline(always)]
fn merge<'a, V: Simd, S: Scalar, const NV: usize>(
    simd: V,
    pieces: impl Iterator<Item = &'a [f32]> + Clone,
    width: usize,
    column: usize,
    out: &mut [S],
) {
    let max = pieces.clone().fold(f32::NEG_INFINITY, |max, piece| max.max(piece[width]));
    let (mut sum, mut acc) = (simd.zero(), [simd.zero(); NV]);
    for piece in pieces {
        let factor = simd.exp2(simd.splat(piece[width] - max));
        sum = simd.mul_add(factor, simd.splat(piece[width + 1]), sum);
        for v in 0..NV {
            acc[v] = simd.mul_add(factor, simd.read(&piece[column + v * V::LANES..]), acc[v]);
        }
    }
    for v in 0..NV {
        simd.write(&mut out[column + v * V::LANES..], simd.div(acc[v], sum));
    }
}

/// Turns the first `len` scores, whose multiples by `exponent` are powers of two, into weights relative to the largest.
///
/// The other scores up to the end get the weight 0. It returns the largest power and the sum of the weights.
#[inline(always)]
pub(super) fn weights<V: Simd>(simd: V, exponent: f32, scores: &mut [f32], len: usize) -> (f32, f32) {
    scores[len..].fill(f32::NEG_INFINITY);
    let mut max = simd.splat(f32::NEG_INFINITY);
    for scores in scores.chunks_exact(V::LANES) {
        max = simd.max(max, simd.read(scores));
    }
    let max = simd.reduce_max(max) * exponent;
    let (exponent, negative_max, mut sum) = (simd.splat(exponent), simd.splat(-max), simd.zero());
    for scores in scores.chunks_exact_mut(V::LANES) {
        let weights = simd.exp2(simd.mul_add(simd.read(scores), exponent, negative_max));
        sum = simd.add(sum, weights);
        simd.write(scores, weights);
    }
    (max, simd.reduce_add(sum))
}
