//! One query against the KV cache of one head: the forward pass position by position.
//!
//! Each cache belongs to one row of the batch, one layer and one head, and lies in a flat slice of 32-bit units
//! that the caller owns: keys as `[block of 64 positions][column unit][position]`, so that the scores of a vector
//! of keys need no sum across lanes, then values as `[position unit][column]`. Both are the packed forms that
//! training uses too.

use super::product::tile;
use super::scratch::Shape;
use super::{AttentionScratch, BLOCK};
use crate::Scalar;
use crate::isa::{Isa, Kernel};
use crate::simd::Simd;
use std::f32::consts::LOG2_E;

/// The shape of one KV cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvShape {
    pub(super) n_ctx: usize,
    pub(super) head_size: usize,
}

impl KvShape {
    /// Room for positions `0..n_ctx` of a head whose padded size is a multiple of 16.
    pub fn new(n_ctx: usize, head_size: usize) -> Self {
        assert!(head_size.is_multiple_of(16), "head size {head_size} is no multiple of 16");
        Self { n_ctx, head_size }
    }

    /// Units of a cache of format `S`. Its content before the first [`append`](Self::append) is of no importance.
    pub fn units<S: Scalar>(self) -> usize {
        2 * Shape::new::<S>(self.n_ctx, self.head_size).matrix()
    }

    /// Stores the key and the value, `head_size` long, of `position`. Positions must be appended in ascending
    /// order from 0; starting again at 0 begins another sequence in the same memory.
    pub fn append<S: Scalar>(self, cache: &mut [u32], position: usize, k: &[S], v: &[S]) {
        assert!(position < self.n_ctx, "position {position} of {}", self.n_ctx);
        assert!(k.len() == self.head_size && v.len() == self.head_size, "keys and values of {}", self.head_size);
        assert_eq!(cache.len(), self.units::<S>(), "units of the cache");
        let (keys, values) = cache.split_at_mut(self.units::<S>() / 2);
        let block = &mut keys[position / BLOCK * BLOCK * self.head_size / S::PACK..];
        for (u, unit) in k.chunks_exact(S::PACK).enumerate() {
            block[u * BLOCK + position % BLOCK] = bytemuck::pod_read_unaligned(bytemuck::cast_slice(unit));
        }
        let row = &mut values[position / S::PACK * self.head_size..][..self.head_size];
        let row: &mut [S] = bytemuck::cast_slice_mut(row);
        for (unit, &v) in row.chunks_exact_mut(S::PACK).zip(v) {
            // The first position of a unit clears the second, which may hold anything from an earlier sequence.
            unit[position % S::PACK] = v;
            unit[position % S::PACK + 1..].fill(S::default());
        }
    }

    /// Writes to `out` what a query at position `len - 1` sees of positions `0..len`, all appended before:
    /// `softmax(scale · q kᵀ) v`, as [`attention_forward`](super::attention_forward) has it up to rounding. `q`
    /// and `out` are `head_size` long. The result depends on `q` and these positions alone.
    ///
    /// Panics on wrong lengths and on scratch made for fewer positions.
    pub fn attend<S: Scalar>(
        self,
        isa: Isa,
        scale: f32,
        cache: &[u32],
        q: &[S],
        len: usize,
        out: &mut [S],
        scratch: &mut AttentionScratch,
    ) {
        assert!((1..=self.n_ctx).contains(&len), "{len} positions of {}", self.n_ctx);
        assert!(q.len() == self.head_size && out.len() == self.head_size, "queries of {}", self.head_size);
        assert_eq!(cache.len(), self.units::<S>(), "units of the cache");
        let [scores, p, query] = scratch.split(self.scratch());
        bytemuck::cast_slice_mut::<u32, S>(query)[..q.len()].copy_from_slice(q);
        let (keys, values) = cache.split_at(cache.len() / 2);
        let scores = bytemuck::cast_slice_mut(scores);
        isa.run(Attend { exponent: scale * LOG2_E, keys, values, query, len, scores, p, out });
    }

    /// Lengths of: scores, probabilities, the query.
    pub(super) fn scratch(self) -> [usize; 3] {
        let padded = self.n_ctx.next_multiple_of(BLOCK);
        [padded, padded, self.head_size]
    }
}

struct Attend<'a, S> {
    exponent: f32,
    keys: &'a [u32],
    values: &'a [u32],
    query: &'a [u32],
    len: usize,
    scores: &'a mut [f32],
    p: &'a mut [u32],
    out: &'a mut [S],
}

impl<S: Scalar> Kernel for Attend<'_, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self, simd: V) {
        // One block of keys is as many vectors.
        if V::LANES == 16 { attend::<V, S, 4>(simd, self) } else { attend::<V, S, 8>(simd, self) }
    }
}

#[inline(always)]
fn attend<V: Simd, S: Scalar, const NV: usize>(simd: V, head: Attend<S>) {
    let Attend { exponent, keys, values, query, len, scores, p, out } = head;
    let (width, padded) = (out.len(), len.next_multiple_of(BLOCK));
    let units = width / S::PACK;

    for first in (0..len).step_by(BLOCK) {
        let keys = &keys[first * units..][..BLOCK * units];
        let zero = [[simd.zero(); NV]; 1];
        let acc = tile::<V, S, 1, NV>(simd, units, (query, units, 1), (keys, BLOCK), zero);
        for v in 0..NV {
            simd.write(&mut scores[first + v * V::LANES..], acc[0][v]);
        }
    }
    scores[len..padded].fill(f32::NEG_INFINITY);

    let mut max = simd.splat(f32::NEG_INFINITY);
    for t in (0..padded).step_by(V::LANES) {
        max = simd.max(max, simd.read(&scores[t..]));
    }
    let negative_max = simd.splat(-simd.reduce_max(max) * exponent);
    let exponent = simd.splat(exponent);
    let mut sum = simd.zero();
    let p_values: &mut [S] = bytemuck::cast_slice_mut(p);
    for t in (0..padded).step_by(V::LANES) {
        let p = simd.exp2(simd.mul_add(simd.read(&scores[t..]), exponent, negative_max));
        sum = simd.add(sum, p);
        simd.write(&mut p_values[t..], p);
    }
    let inverse = simd.splat(1.0 / simd.reduce_add(sum));

    let summed = len.div_ceil(S::PACK);
    let mut column = 0;
    while column + 4 * V::LANES <= width {
        weigh::<V, S, 4>(simd, summed, p, values, width, column, inverse, out);
        column += 4 * V::LANES;
    }
    while column + 2 * V::LANES <= width {
        weigh::<V, S, 2>(simd, summed, p, values, width, column, inverse, out);
        column += 2 * V::LANES;
    }
    if column < width {
        weigh::<V, S, 1>(simd, summed, p, values, width, column, inverse, out);
    }
}

/// `NV` vectors of the output from `column`: the values weighed with the probabilities.
#[inline(always)]
fn weigh<V: Simd, S: Scalar, const NV: usize>(
    simd: V,
    units: usize,
    p: &[u32],
    values: &[u32],
    width: usize,
    column: usize,
    inverse: V::F32,
    out: &mut [S],
) {
    let zero = [[simd.zero(); NV]; 1];
    let acc = tile::<V, S, 1, NV>(simd, units, (p, 0, 1), (&values[column..], width), zero);
    for v in 0..NV {
        simd.write(&mut out[column + v * V::LANES..], simd.mul(acc[0][v], inverse));
    }
}
