//! Attention of one query over the KV cache: the forward pass position by position.
//!
//! A cache consists of pieces of [`PIECE`] positions. A piece has the keys and values of all heads in one contiguous
//! range of memory that the caller owns. Reading a sequence is then reading long streams, and each piece is work for
//! one thread. The partial results of the pieces are [merged](KvShape::merge) afterwards.
//!
//! For each head, a piece has the keys as `[block of 64 positions][column unit][position]`, so that the scores of a
//! vector of keys need no sum across lanes. The values follow as `[position unit][column]`. Both are packed formats of
//! training, too.

use super::BLOCK;
use super::partial::weights;
use super::product::tile;
use crate::Buffer;
use crate::Scalar;
use crate::isa::{Isa, Kernel};
use crate::simd::Simd;
use std::f32::consts::LOG2_E;

/// Number of positions in one piece of a KV cache.
pub const PIECE: usize = 128;

/// Shape of a KV cache: number and size of its heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvShape {
    pub(super) n_head: usize,
    pub(super) head_size: usize,
}

/// Scratch memory for the attention of one query, in any format.
#[derive(Debug)]
pub struct QueryScratch {
    pub(super) query: Buffer<u32>,
}

impl KvShape {
    /// Shape with `n_head` heads, whose padded size must be a multiple of 16.
    pub fn new(n_head: usize, head_size: usize) -> Self {
        assert!(head_size.is_multiple_of(16), "head size {head_size} is no multiple of 16");
        Self { n_head, head_size }
    }

    /// Number of values in one position's keys, in its values, or in a query.
    pub fn width(self) -> usize {
        self.n_head * self.head_size
    }

    /// Allocates scratch memory for queries of this shape.
    pub fn scratch(self) -> QueryScratch {
        QueryScratch { query: Buffer::zeroed(self.head_size) }
    }

    /// Number of units in a piece of format `S`.
    ///
    /// Its content before the first [`append`](Self::append) does not matter.
    pub fn units<S: Scalar>(self) -> usize {
        2 * PIECE * self.width() / S::PACK
    }

    /// Stores the keys and values of all heads at a place of a piece.
    ///
    /// Places must be appended in ascending order from 0. Starting again at 0 begins another sequence in the same
    /// memory.
    pub fn append<S: Scalar>(self, piece: &mut [u32], place: usize, k: &[S], v: &[S]) {
        assert!(place < PIECE, "place {place} of {PIECE}");
        assert!(k.len() == self.width() && v.len() == self.width(), "keys and values of {}", self.width());
        assert_eq!(piece.len(), self.units::<S>(), "units of a piece");
        let rows = k.chunks_exact(self.head_size).zip(v.chunks_exact(self.head_size));
        for (head, (k, v)) in piece.chunks_exact_mut(self.units::<S>() / self.n_head).zip(rows) {
            let (keys, values) = head.split_at_mut(PIECE * self.head_size / S::PACK);
            let block = &mut keys[place / BLOCK * BLOCK * self.head_size / S::PACK..];
            for (u, unit) in k.chunks_exact(S::PACK).enumerate() {
                block[u * BLOCK + place % BLOCK] = bytemuck::pod_read_unaligned(bytemuck::cast_slice(unit));
            }
            let row = &mut values[place / S::PACK * self.head_size..][..self.head_size];
            let row: &mut [S] = bytemuck::cast_slice_mut(row);
            for (unit, &v) in row.chunks_exact_mut(S::PACK).zip(v) {
                // The first place of a unit clears the second, which may have any value from an earlier sequence.
                unit[place % S::PACK] = v;
                unit[place % S::PACK + 1..].fill(S::default());
            }
        }
    }

    /// Computes the attention of the query `q` (all heads) over the first `len` places of a piece into `partial`.
    ///
    /// All these places must have been appended before. [Merged](KvShape::merge) over all pieces of a sequence, the
    /// result is `softmax(scale · q kᵀ) v`, equal to [`attention_forward`](super::attention_forward) up to rounding. It
    /// depends on `q` and these places alone.
    ///
    /// Panics on wrong lengths and on scratch made for smaller heads.
    pub fn attend<S: Scalar>(
        self,
        isa: Isa,
        scale: f32,
        (piece, len): (&[u32], usize),
        q: &[S],
        partial: &mut [f32],
        scratch: &mut QueryScratch,
    ) {
        assert_eq!(piece.len(), self.units::<S>(), "units of a piece");
        self.check_query(len, q, partial);
        S::attend(
            isa,
            Attend { shape: self, exponent: scale * LOG2_E, piece, len, q, partial, query: &mut scratch.query },
        );
    }

    pub(super) fn check_query<S>(self, len: usize, q: &[S], partial: &[f32]) {
        assert!((1..=PIECE).contains(&len), "{len} places of {PIECE}");
        assert_eq!((q.len(), partial.len()), (self.width(), self.partial_len()), "a query and what it sees");
    }
}

pub(crate) struct Attend<'a, S> {
    shape: KvShape,
    exponent: f32,
    piece: &'a [u32],
    len: usize,
    q: &'a [S],
    partial: &'a mut [f32],
    query: &'a mut [u32],
}

impl<S: Scalar> Kernel for Attend<'_, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self, simd: V) {
        // One block of keys consists of this many vectors.
        if V::LANES == 16 { attend::<V, S, 4>(simd, self) } else { attend::<V, S, 8>(simd, self) }
    }
}

#[inline(always)]
fn attend<V: Simd, S: Scalar, const NV: usize>(simd: V, task: Attend<S>) {
    let Attend { shape, exponent, piece, len, q, partial, query } = task;
    let width = shape.head_size;
    let query = &mut query[..width / S::PACK];
    let heads = piece.chunks_exact(2 * PIECE * width / S::PACK).zip(q.chunks_exact(width));
    for ((head, q), (sums, tail)) in heads.zip(shape.partials_mut(partial)) {
        let (keys, values) = head.split_at(head.len() / 2);
        bytemuck::cast_slice_mut::<u32, S>(query).copy_from_slice(q);
        let mut scores = [0.0; PIECE];
        let scores = &mut scores[..len.next_multiple_of(BLOCK)];
        for (scores, keys) in scores.chunks_exact_mut(BLOCK).zip(keys.chunks_exact(BLOCK * query.len())) {
            let zero = [[simd.zero(); NV]; 1];
            let [acc] = tile::<V, S, 1, NV>(simd, query.len(), (query, 0, 1), (keys, BLOCK), zero);
            for v in 0..NV {
                simd.write(&mut scores[v * V::LANES..], acc[v]);
            }
        }
        (tail[0], tail[1]) = weights(simd, exponent, scores, len);
        let mut p = [0; PIECE];
        let rounded: &mut [S] = bytemuck::cast_slice_mut(&mut p);
        for (p, weights) in rounded.chunks_exact_mut(V::LANES).zip(scores.chunks_exact(V::LANES)) {
            simd.write(p, simd.read(weights));
        }
        let units = len.div_ceil(S::PACK);
        let mut column = 0;
        while column + 4 * V::LANES <= width {
            weigh::<V, S, 4>(simd, &p[..units], values, width, column, sums);
            column += 4 * V::LANES;
        }
        while column < width {
            weigh::<V, S, 1>(simd, &p[..units], values, width, column, sums);
            column += V::LANES;
        }
    }
}

/// `NV` vectors of the sums from `column` on: the values weighted with `p`.
#[inline(always)]
fn weigh<V: Simd, S: Scalar, const NV: usize>(
    simd: V,
    p: &[u32],
    values: &[u32],
    width: usize,
    column: usize,
    sums: &mut [f32],
) {
    let zero = [[simd.zero(); NV]; 1];
    let [acc] = tile::<V, S, 1, NV>(simd, p.len(), (p, 0, 1), (&values[column..], width), zero);
    for v in 0..NV {
        simd.write(&mut sums[column + v * V::LANES..], acc[v]);
    }
}
