//! [`KvShape`] with 8-bit keys and values: half the memory to read, which dominates the cost of decoding many
//! positions.
//!
//! For each head, the key and the value of a position are one scale times integers from −127 to 127. A query, and the
//! weights times the values' scales, are rounded to integers of up to 14 bits, so that all sums are exact.

use super::partial::weights;
use super::{BLOCK, KvShape, PIECE, QueryScratch};
use crate::Scalar;
use crate::isa::{Isa, Kernel};
use crate::simd::Simd;
use std::f32::consts::LOG2_E;

/// Largest integer of a key or value.
const MAX: f32 = 127.0;

/// Rounds `x` to integers of at most `most`, two per unit; returns their scale.
#[inline(always)]
fn quantize<V: Simd, S: Scalar>(simd: V, x: &[S], most: f32, units: &mut [u32]) -> f32 {
    let max = simd.largest_magnitude(x);
    simd.to_i16(x, if max > 0.0 { most / max } else { 0.0 }, bytemuck::cast_slice_mut(units));
    max / most
}

/// Largest integer whose products with keys or values stay below 2^31 in a sum of `terms`.
fn largest(terms: usize) -> f32 {
    (2f32.powi(31) / (MAX * terms.max(1) as f32)).floor().clamp(2.0, 16383.0) - 1.0
}

impl KvShape {
    /// Lengths of a piece's 8-bit values and of its scales.
    ///
    /// The values are for each head the keys as `[block of 64 positions][column pair][position][2]`, then the values as
    /// `[position pair][column][2]`. The scales are for each head those of the keys by place, then those of the values.
    /// Their content before the first [`append_int8`](Self::append_int8) does not matter.
    pub fn int8_lens(self) -> (usize, usize) {
        (2 * PIECE * self.width(), 2 * PIECE * self.n_head)
    }

    /// Stores the keys and values of all heads at a place of an 8-bit piece; otherwise as [`append`](Self::append).
    pub fn append_int8<S: Scalar>(
        self,
        isa: Isa,
        (values, scales): (&mut [i8], &mut [f32]),
        place: usize,
        k: &[S],
        v: &[S],
    ) {
        assert!(place < PIECE, "place {place} of {PIECE}");
        assert!(k.len() == self.width() && v.len() == self.width(), "keys and values of {}", self.width());
        assert_eq!((values.len(), scales.len()), self.int8_lens(), "8-bit values and scales of a piece");
        S::append_int8(isa, Append { head_size: self.head_size, values, scales, place, k, v });
    }

    /// Computes the attention of one query over an 8-bit piece; otherwise as [`attend`](Self::attend).
    pub fn attend_int8<S: Scalar>(
        self,
        isa: Isa,
        scale: f32,
        (values, scales, len): (&[i8], &[f32], usize),
        q: &[S],
        partial: &mut [f32],
        scratch: &mut QueryScratch,
    ) {
        assert_eq!((values.len(), scales.len()), self.int8_lens(), "8-bit values and scales of a piece");
        self.check_query(len, q, partial);
        let query = &mut scratch.query;
        S::attend_int8(isa, Attend { shape: self, exponent: scale * LOG2_E, values, scales, len, q, partial, query });
    }
}

pub(crate) struct Append<'a, S> {
    head_size: usize,
    values: &'a mut [i8],
    scales: &'a mut [f32],
    place: usize,
    k: &'a [S],
    v: &'a [S],
}

impl<S: Scalar> Kernel for Append<'_, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self, simd: V) {
        let Self { head_size: width, values, scales, place, k, v } = self;
        let scale = |x: &[S]| {
            let max = simd.largest_magnitude(x);
            (max / MAX, if max > 0.0 { MAX / max } else { 0.0 })
        };
        let caches = values.chunks_exact_mut(2 * PIECE * width).zip(scales.chunks_exact_mut(2 * PIECE));
        for ((values, scales), (k, v)) in caches.zip(k.chunks_exact(width).zip(v.chunks_exact(width))) {
            let (keys, values) = values.split_at_mut(PIECE * width);
            let (k_scale, k_inverse) = scale(k);
            let block = &mut keys[place / BLOCK * BLOCK * width..][..BLOCK * width];
            let units = block.as_chunks_mut::<2>().0.iter_mut().skip(place % BLOCK).step_by(BLOCK);
            for (unit, k) in units.zip(k.chunks_exact(2)) {
                *unit = [0, 1].map(|i| (k[i].to_f32() * k_inverse).round_ties_even() as i8);
            }
            let (v_scale, v_inverse) = scale(v);
            let pairs = values[place / 2 * 2 * width..][..2 * width].as_chunks_mut::<2>().0;
            for (pair, v) in pairs.iter_mut().zip(v) {
                // The first place of a pair clears the second, which may have any value from an earlier sequence.
                pair[place % 2] = (v.to_f32() * v_inverse).round_ties_even() as i8;
                pair[place % 2 + 1..].fill(0);
            }
            (scales[place], scales[PIECE + place]) = (k_scale, v_scale);
        }
    }
}

pub(crate) struct Attend<'a, S> {
    shape: KvShape,
    exponent: f32,
    values: &'a [i8],
    scales: &'a [f32],
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
    let Attend { shape, exponent, values, scales, len, q, partial, query } = task;
    let width = shape.head_size;
    let query = &mut query[..width / 2];
    let caches = values.chunks_exact(2 * PIECE * width).zip(scales.chunks_exact(2 * PIECE));
    let heads = caches.zip(q.chunks_exact(width)).zip(shape.partials_mut(partial));
    for (((values, scales), q), (sums, tail)) in heads {
        let (keys, values) = values.split_at(PIECE * width);
        let (k_scales, v_scales) = scales.split_at(PIECE);
        let exponent = exponent * quantize(simd, q, largest(width), query);
        let mut scores = [0.0; PIECE];
        let scores = &mut scores[..len.next_multiple_of(BLOCK)];
        let blocks = keys.chunks_exact(BLOCK * width).zip(k_scales.chunks_exact(BLOCK));
        for (scores, (keys, k_scales)) in scores.chunks_exact_mut(BLOCK).zip(blocks) {
            let acc = dot_rows::<V, NV>(simd, query, keys, 2 * BLOCK);
            for v in 0..NV {
                let scaled = simd.mul(simd.integers_to_f32(acc[v]), simd.read(&k_scales[v * V::LANES..]));
                simd.write(&mut scores[v * V::LANES..], scaled);
            }
        }
        (tail[0], tail[1]) = weights(simd, exponent, scores, len);
        for (weights, v_scales) in scores.chunks_exact_mut(V::LANES).zip(v_scales.chunks_exact(V::LANES)) {
            simd.write(weights, simd.mul(simd.read(weights), simd.read(v_scales)));
        }
        // Scales after the last place may have any value.
        scores[len..].fill(0.0);
        let mut units = [0; PIECE / 2];
        let factor = simd.splat(quantize(simd, scores, largest(PIECE), &mut units[..scores.len() / 2]));
        let units = &units[..len.div_ceil(2)];
        let mut column = 0;
        while column + 4 * V::LANES <= width {
            weigh::<V, 4>(simd, units, values, width, column, factor, sums);
            column += 4 * V::LANES;
        }
        while column < width {
            weigh::<V, 1>(simd, units, values, width, column, factor, sums);
            column += V::LANES;
        }
    }
}

/// `NV` vectors of the sums from `column` on: the weighted values.
#[inline(always)]
fn weigh<V: Simd, const NV: usize>(
    simd: V,
    weights: &[u32],
    values: &[i8],
    width: usize,
    column: usize,
    factor: V::F32,
    sums: &mut [f32],
) {
    let acc = dot_rows::<V, NV>(simd, weights, &values[2 * column..], 2 * width);
    for v in 0..NV {
        simd.write(&mut sums[column + v * V::LANES..], simd.mul(simd.integers_to_f32(acc[v]), factor));
    }
}

/// Sums the products of units of `a` and rows of pairs of `b`, `stride` values apart: `NV` vectors from the start of
/// the rows.
#[inline(always)]
fn dot_rows<V: Simd, const NV: usize>(simd: V, a: &[u32], b: &[i8], stride: usize) -> [V::U32; NV] {
    assert!(a.is_empty() || (a.len() - 1) * stride + 2 * NV * V::LANES <= b.len());
    let mut acc = [simd.splat_unit(0); NV];
    for (u, &left) in a.iter().enumerate() {
        let left = simd.splat_unit(left);
        for (v, acc) in acc.iter_mut().enumerate() {
            // SAFETY: the largest offset read was just compared with the length.
            let right = unsafe { simd.load_i8_pairs(b.as_ptr().add(u * stride + 2 * v * V::LANES)) };
            *acc = simd.dot_i16(left, right, *acc);
        }
    }
    acc
}
