//! [`KvShape`] with keys and values of 8 bits: half the memory to read, which is what decoding many positions costs.
//!
//! The key and the value of a position are each one scale times integers from −127 to 127. A query, and the
//! probabilities times the values' scales, become integers of up to 14 bits, so that all sums are exact.

use super::{BLOCK, KvShape};
use crate::isa::{Isa, Kernel};
use crate::simd::Simd;
use crate::{Buffer, Scalar};
use std::f32::consts::LOG2_E;

/// The largest key or value.
const MAX: f32 = 127.0;

/// A cache of keys and values of one head, as it lies in memory that the caller owns.
#[derive(Debug)]
pub struct QuantizedKv<'a> {
    /// Keys as `[block of 64 positions][column pair][position][2]`, then values as `[position pair][column][2]`.
    pub values: &'a mut [i8],
    /// The keys' scales by position, then the values'.
    pub scales: &'a mut [f32],
}

/// Scratch memory for [`KvShape::attend_int8`].
#[derive(Debug)]
pub struct QuantizedScratch {
    query: Buffer<u32>,
    scores: Buffer<f32>,
    weights: Buffer<u32>,
}

impl QuantizedScratch {
    /// For caches of this shape.
    pub fn new(shape: KvShape) -> Self {
        let padded = shape.padded();
        Self {
            query: Buffer::zeroed(shape.head_size / 2),
            scores: Buffer::zeroed(padded),
            weights: Buffer::zeroed(padded / 2),
        }
    }
}

/// Rounds `x` to integers of at most `most`, two to a unit; gives their scale.
#[inline(always)]
fn quantize<V: Simd, S: Scalar>(simd: V, x: &[S], most: f32, units: &mut [u32]) -> f32 {
    let max = simd.largest_magnitude(x);
    simd.to_i16(x, if max > 0.0 { most / max } else { 0.0 }, bytemuck::cast_slice_mut(units));
    max / most
}

/// The largest integer whose products with keys or values stay below 2^31 in a sum of `terms`.
fn largest(terms: usize) -> f32 {
    (2f32.powi(31) / (MAX * terms.max(1) as f32)).floor().clamp(2.0, 16383.0) - 1.0
}

impl KvShape {
    fn padded(self) -> usize {
        self.n_ctx.next_multiple_of(BLOCK)
    }

    /// 8-bit values and scales of a cache. What they are before the first [`append_int8`](Self::append_int8) is of
    /// no importance.
    pub fn int8_lens(self) -> (usize, usize) {
        (2 * self.padded() * self.head_size, 2 * self.padded())
    }

    /// As [`append`](Self::append).
    pub fn append_int8<S: Scalar>(self, cache: QuantizedKv<'_>, position: usize, k: &[S], v: &[S]) {
        let (width, padded) = (self.head_size, self.padded());
        assert!(position < self.n_ctx, "position {position} of {}", self.n_ctx);
        assert!(k.len() == width && v.len() == width, "keys and values of {width}");
        assert_eq!((cache.values.len(), cache.scales.len()), self.int8_lens(), "the cache");
        let round = |x: &[S]| {
            let max = x.iter().fold(0.0f32, |max, x| max.max(x.to_f32().abs()));
            (max / MAX, if max > 0.0 { MAX / max } else { 0.0 })
        };
        let (keys, values) = cache.values.split_at_mut(padded * width);
        let (k_scale, k_inverse) = round(k);
        let block = &mut keys[position / BLOCK * BLOCK * width..][..BLOCK * width];
        for (c, k) in k.iter().enumerate() {
            block[(c / 2 * BLOCK + position % BLOCK) * 2 + c % 2] = (k.to_f32() * k_inverse).round() as i8;
        }
        let (v_scale, v_inverse) = round(v);
        let pair = &mut values[position / 2 * 2 * width..][..2 * width];
        for (pair, v) in pair.chunks_exact_mut(2).zip(v) {
            // The first position of a pair clears the second, which may hold anything from an earlier sequence.
            pair[position % 2] = (v.to_f32() * v_inverse).round() as i8;
            pair[position % 2 + 1..].fill(0);
        }
        (cache.scales[position], cache.scales[padded + position]) = (k_scale, v_scale);
    }

    /// As [`attend`](Self::attend).
    pub fn attend_int8<S: Scalar>(
        self,
        isa: Isa,
        scale: f32,
        (values, scales): (&[i8], &[f32]),
        q: &[S],
        len: usize,
        out: &mut [S],
        scratch: &mut QuantizedScratch,
    ) {
        let (width, padded) = (self.head_size, self.padded());
        assert!((1..=self.n_ctx).contains(&len), "{len} positions of {}", self.n_ctx);
        assert!(q.len() == width && out.len() == width, "queries of {width}");
        assert_eq!((values.len(), scales.len()), self.int8_lens(), "the cache");
        let QuantizedScratch { query, scores, weights } = scratch;
        let (keys, values) = values.split_at(padded * width);
        let (k_scales, v_scales) = scales.split_at(padded);
        let exponent = scale * LOG2_E;
        isa.run(Attend { exponent, keys, values, k_scales, v_scales, q, query, len, scores, weights, out });
    }
}

struct Attend<'a, S> {
    exponent: f32,
    keys: &'a [i8],
    values: &'a [i8],
    k_scales: &'a [f32],
    v_scales: &'a [f32],
    q: &'a [S],
    query: &'a mut [u32],
    len: usize,
    scores: &'a mut [f32],
    weights: &'a mut [u32],
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
    let Attend { exponent, keys, values, k_scales, v_scales, q, query, len, scores, weights, out } = head;
    let (width, padded) = (out.len(), len.next_multiple_of(BLOCK));
    let exponent = exponent * quantize(simd, q, largest(width), query);

    for first in (0..len).step_by(BLOCK) {
        let keys = &keys[first * width..][..BLOCK * width];
        let acc = dot_rows::<V, NV>(simd, query, keys, 2 * BLOCK);
        for v in 0..NV {
            let at = first + v * V::LANES;
            let scores = &mut scores[at..];
            simd.write(scores, simd.mul(simd.integers_to_f32(acc[v]), simd.read(&k_scales[at..])));
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
    for t in (0..padded).step_by(V::LANES) {
        let p = simd.exp2(simd.mul_add(simd.read(&scores[t..]), exponent, negative_max));
        sum = simd.add(sum, p);
        simd.write(&mut scores[t..], simd.mul(p, simd.read(&v_scales[t..])));
    }
    // Scales behind the last position may be anything.
    scores[len..padded].fill(0.0);
    let scale = quantize(simd, &scores[..padded], largest(len), &mut weights[..padded / 2]);
    let (pairs, factor) = (len.div_ceil(2), simd.splat(scale / simd.reduce_add(sum)));

    let mut column = 0;
    while column + 4 * V::LANES <= width {
        weigh::<V, S, 4>(simd, &weights[..pairs], values, width, column, factor, out);
        column += 4 * V::LANES;
    }
    while column < width {
        weigh::<V, S, 1>(simd, &weights[..pairs], values, width, column, factor, out);
        column += V::LANES;
    }
}

/// `NV` vectors of the output from `column`: the values weighed.
#[inline(always)]
fn weigh<V: Simd, S: Scalar, const NV: usize>(
    simd: V,
    weights: &[u32],
    values: &[i8],
    width: usize,
    column: usize,
    factor: V::F32,
    out: &mut [S],
) {
    let acc = dot_rows::<V, NV>(simd, weights, &values[2 * column..], 2 * width);
    for v in 0..NV {
        simd.write(&mut out[column + v * V::LANES..], simd.mul(simd.integers_to_f32(acc[v]), factor));
    }
}

/// Σ units of `a` times rows of pairs of `b`, `stride` values apart: `NV` vectors from the start of the rows.
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
