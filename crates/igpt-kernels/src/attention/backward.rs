//! Backward pass of one attention head.

use super::product::{accumulate, hide_rows, mask, tile, write_pair};
use super::scratch::Shape;
use super::tiles::{self, SPAN};
use super::{AttentionScratch, BLOCK, Mask, check, pack};
use crate::amx::{self, Amx};
use crate::isa::{Isa, Kernel};
use crate::simd::Simd;
use crate::{MatMut, MatRef, Scalar};
use std::f32::consts::LOG2_E;

/// Backward pass of [`attention_forward`](super::attention_forward) for one head of one image.
///
/// It overwrites (does not add to) `dq`, `dk` and `dv`, given the inputs, the output and `lse` of the forward pass and
/// the output's gradient `dout`. All matrices are `n_ctx × head_size` views of any stride.
///
/// Panics on wrong shapes and on scratch made for a smaller head.
pub fn attention_backward<S: Scalar>(
    isa: Isa,
    mask: Mask,
    scale: f32,
    q: MatRef<S>,
    k: MatRef<S>,
    v: MatRef<S>,
    out: MatRef<S>,
    dout: MatRef<S>,
    lse: &[f32],
    dq: MatMut<S>,
    dk: MatMut<S>,
    dv: MatMut<S>,
    scratch: &mut AttentionScratch,
) {
    let shape = (q.rows(), q.cols());
    for (name, x) in [("k", k), ("v", v), ("out", out), ("dout", dout)] {
        check(name, x, shape);
    }
    for (name, x) in [("dq", &dq), ("dk", &dk), ("dv", &dv)] {
        assert_eq!((x.rows(), x.cols()), shape, "{name} must have the shape of q");
    }
    assert_eq!(lse.len(), shape.0, "one lse per query");
    S::attention_backward(
        isa,
        Backward { mask, scale, q, k, v, out, dout, lse, dq, dk, dv, scratch, amx: isa.amx::<S>() },
    );
}

pub(crate) struct Backward<'a, S> {
    mask: Mask,
    scale: f32,
    q: MatRef<'a, S>,
    k: MatRef<'a, S>,
    v: MatRef<'a, S>,
    out: MatRef<'a, S>,
    dout: MatRef<'a, S>,
    lse: &'a [f32],
    dq: MatMut<'a, S>,
    dk: MatMut<'a, S>,
    dv: MatMut<'a, S>,
    scratch: &'a mut AttentionScratch,
    amx: Option<Amx>,
}

impl<S: Scalar> Kernel for Backward<'_, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self, simd: V) {
        if V::LANES == 16 { backward::<V, S, 8>(simd, self) } else { backward::<V, S, 4>(simd, self) }
    }
}

/// Queries of a block, as the computation of its probabilities and their gradient needs them.
#[derive(Clone, Copy)]
struct Queries<'a> {
    q_columns: &'a [u32],
    dout_columns: &'a [u32],
    /// Minus the logarithm of the softmax's denominator, base 2.
    negative_lse: &'a [f32],
    /// Negative `Σ out · dout`, which the softmax adds to every gradient of a probability.
    negative_delta: &'a [f32],
}

/// Block of probabilities and of gradients of scores, in the formats that the products need.
struct Block<'a> {
    /// `[key][query unit]`
    p_rows: &'a mut [u32],
    /// `[key][query unit]`, without the scale.
    ds_rows: &'a mut [u32],
    /// `[key unit][query]`, without the scale.
    ds_pairs: &'a mut [u32],
}

#[inline(always)]
fn backward<V: Simd, S: Scalar, const MR: usize>(simd: V, head: Backward<S>) {
    let Backward { mask, scale, q, k, v, out, dout, lse, dq, mut dk, mut dv, scratch, amx } = head;
    let (n_ctx, width) = (q.rows(), q.cols());
    let units = width / S::PACK;
    let block_units = BLOCK / S::PACK;
    let mut tiles = tiles::for_heads(amx, width);

    let [
        q_rows,
        q_columns,
        q_pairs,
        dout_rows,
        dout_columns,
        dout_pairs,
        k_rows,
        k_pairs,
        v_rows,
        dq_sum,
        dk_sum,
        dv_sum,
        negative_lse,
        negative_delta,
        p_rows,
        ds_rows,
        ds_pairs,
        scores,
        dp,
        ds_turned,
    ] = scratch.split(Shape::new::<S>(n_ctx, width).backward());
    let dq_sum: &mut [f32] = bytemuck::cast_slice_mut(dq_sum);
    let dk_sum: &mut [f32] = bytemuck::cast_slice_mut(dk_sum);
    let dv_sum: &mut [f32] = bytemuck::cast_slice_mut(dv_sum);
    let negative_lse: &mut [f32] = bytemuck::cast_slice_mut(negative_lse);
    let negative_delta: &mut [f32] = bytemuck::cast_slice_mut(negative_delta);
    let (scores, dp): (&mut [f32], &mut [f32]) = (bytemuck::cast_slice_mut(scores), bytemuck::cast_slice_mut(dp));
    let mut block = Block { p_rows, ds_rows, ds_pairs };

    pack::rows(q, q_rows);
    pack::columns(q_rows, units, q_columns);
    pack::pairs(simd, q, q_pairs);
    pack::rows(dout, dout_rows);
    pack::columns(dout_rows, units, dout_columns);
    pack::pairs(simd, dout, dout_pairs);
    pack::rows(k, k_rows);
    pack::pairs(simd, k, k_pairs);
    pack::rows(v, v_rows);
    dq_sum.fill(0.0);
    // Queries after the last have zero rows, so any finite value is fine there.
    negative_lse.fill(0.0);
    negative_delta.fill(0.0);
    for i in 0..n_ctx {
        negative_lse[i] = -lse[i];
        negative_delta[i] = -dot_rows(simd, out.row(i), dout.row(i));
    }

    for first_key in (0..n_ctx).step_by(BLOCK) {
        let real = BLOCK.min(n_ctx - first_key);
        let keys = real.next_multiple_of(MR);
        let k_block = &k_rows[first_key * units..];
        let v_block = &v_rows[first_key * units..];
        let k_pairs = &k_pairs[first_key / S::PACK * width..][..block_units * width];
        dk_sum.fill(0.0);
        dv_sum.fill(0.0);
        if tiles.is_some() {
            // Tiles sum over whole spans of keys; those after the last contribute nothing.
            block.ds_pairs[keys / 2 * BLOCK..keys.next_multiple_of(SPAN) / 2 * BLOCK].fill(0);
        }
        let first_query = if mask == Mask::Causal { first_key } else { 0 };
        for first in (first_query..n_ctx).step_by(BLOCK) {
            let queries = BLOCK.min(n_ctx - first).next_multiple_of(2 * V::LANES);
            let diagonal = mask == Mask::Causal && first_key == first;
            for query in (0..queries).step_by(2 * V::LANES) {
                let keys = if diagonal { keys.min(query + 2 * V::LANES) } else { keys };
                let lanes = Queries {
                    q_columns: &q_columns[first * units + query..][..BLOCK * units - query],
                    dout_columns: &dout_columns[first * units + query..][..BLOCK * units - query],
                    negative_lse: &negative_lse[first + query..],
                    negative_delta: &negative_delta[first + query..],
                };
                for key in (0..keys).step_by(MR) {
                    let k_rows = &k_block[key * units..];
                    let v_rows = &v_block[key * units..];
                    if let Some(tiles) = tiles.as_mut().filter(|_| key % SPAN == 0) {
                        let (q, dout) = ((lanes.q_columns, BLOCK), (lanes.dout_columns, BLOCK));
                        tiles::product(tiles, units, (k_rows, units), q, SPAN, (scores, SPAN), false);
                        tiles::product(tiles, units, (v_rows, units), dout, SPAN, (dp, SPAN), false);
                    }
                    let at = key % SPAN * SPAN;
                    let known = tiles.as_ref().map(|_| [&scores[at..], &dp[at..]]);
                    let exponent = scale * LOG2_E;
                    let masked = diagonal && key + MR > query;
                    score_gradients::<V, S, MR>(
                        simd,
                        exponent,
                        units,
                        k_rows,
                        v_rows,
                        lanes,
                        (key, real),
                        query,
                        masked,
                        known,
                        &mut block,
                    );
                }
            }
            let dout_pairs = &dout_pairs[first / S::PACK * width..][..block_units * width];
            let q_pairs = &q_pairs[first / S::PACK * width..][..block_units * width];
            if let Some(tiles) = &mut tiles {
                for key in (0..keys).step_by(SPAN) {
                    let skipped = if diagonal { key / S::PACK } else { 0 };
                    let (summed, at) = (queries / S::PACK - skipped, key * block_units + skipped);
                    let (p, ds) = ((&block.p_rows[at..], block_units), (&block.ds_rows[at..], block_units));
                    let (dv, dk) = (&mut dv_sum[key * width..], &mut dk_sum[key * width..]);
                    tiles::product(tiles, summed, p, (&dout_pairs[skipped * width..], width), width, (dv, width), true);
                    tiles::product(tiles, summed, ds, (&q_pairs[skipped * width..], width), width, (dk, width), true);
                }
                for query in (0..queries).step_by(SPAN) {
                    let keys = if diagonal { keys.min(query + SPAN) } else { keys };
                    let summed = keys.next_multiple_of(SPAN) / S::PACK;
                    tiles::turn(simd, summed, &block.ds_pairs[query..], BLOCK, ds_turned);
                    let dq = &mut dq_sum[(first + query) * width..];
                    tiles::product(tiles, summed, (ds_turned, block_units), (k_pairs, width), width, (dq, width), true);
                }
                continue;
            }
            for key in (0..keys).step_by(MR) {
                // Queries before the key have probability 0.
                let skipped = if diagonal { key / S::PACK } else { 0 };
                let summed = queries / S::PACK - skipped;
                let at = key * block_units + skipped;
                let (p, ds) = ((&block.p_rows[at..], block_units, 1), (&block.ds_rows[at..], block_units, 1));
                let (dout_pairs, q_pairs) = (&dout_pairs[skipped * width..], &q_pairs[skipped * width..]);
                accumulate::<V, S, MR>(simd, summed, p, dout_pairs, width, None, &mut dv_sum[key * width..]);
                accumulate::<V, S, MR>(simd, summed, ds, q_pairs, width, None, &mut dk_sum[key * width..]);
            }
            for query in (0..queries).step_by(MR) {
                let keys = if diagonal { keys.min(query + MR) } else { keys };
                let ds = (&block.ds_pairs[query..], 1, BLOCK);
                let dq_sum = &mut dq_sum[(first + query) * width..];
                accumulate::<V, S, MR>(simd, keys / S::PACK, ds, k_pairs, width, None, dq_sum);
            }
        }
        write_rows(simd, scale, dk_sum, dk.view(first_key, real, 0, width));
        write_rows(simd, 1.0, dv_sum, dv.view(first_key, real, 0, width));
    }
    write_rows(simd, scale, dq_sum, dq);
}

/// Recomputes the probabilities of the keys `key..key + MR` from `lse`, and computes the gradients of the scores.
///
/// It does so for two vectors of queries from `query`; only keys below `real` exist. Both positions are relative to the
/// block. `known` are the products of queries and keys, and of the output's gradient and values, if they were computed
/// before.
#[inline(always)]
fn score_gradients<V: Simd, S: Scalar, const MR: usize>(
    simd: V,
    exponent: f32,
    units: usize,
    k_rows: &[u32],
    v_rows: &[u32],
    lanes: Queries,
    (key, real): (usize, usize),
    query: usize,
    masked: bool,
    known: Option<[&[f32]; 2]>,
    block: &mut Block,
) {
    let mut p = match known {
        Some([scores, _]) => amx::vectors(simd, scores),
        None => {
            let zero = [[simd.zero(); 2]; MR];
            tile::<V, S, MR, 2>(simd, units, (k_rows, units, 1), (lanes.q_columns, BLOCK), zero)
        }
    };
    if masked {
        mask(simd, key, query, &mut p);
    }
    if key + MR > real {
        // Without a mask a zero key could have any probability, even an infinite one.
        hide_rows(simd, real.saturating_sub(key), &mut p);
    }
    let exponent = simd.splat(exponent);
    for v in 0..2 {
        let negative_lse = simd.read(&lanes.negative_lse[v * V::LANES..]);
        for r in 0..MR {
            p[r][v] = simd.exp2_for::<S>(simd.mul_add(p[r][v], exponent, negative_lse));
        }
    }
    write_tile::<V, S, MR>(simd, &p, block.p_rows, key, query);

    // Starting from -delta, the product is the gradient of the probability with the softmax's term already subtracted.
    let mut ds = [[simd.zero(); 2]; MR];
    for v in 0..2 {
        let negative_delta = simd.read(&lanes.negative_delta[v * V::LANES..]);
        for r in 0..MR {
            ds[r][v] = negative_delta;
        }
    }
    match known {
        Some([_, dp]) => {
            let dp: [[V::F32; 2]; MR] = amx::vectors(simd, dp);
            for r in 0..MR {
                for v in 0..2 {
                    ds[r][v] = simd.add(ds[r][v], dp[r][v]);
                }
            }
        }
        None => ds = tile::<V, S, MR, 2>(simd, units, (v_rows, units, 1), (lanes.dout_columns, BLOCK), ds),
    }
    for r in 0..MR {
        for v in 0..2 {
            ds[r][v] = simd.mul(p[r][v], ds[r][v]);
        }
    }
    write_tile::<V, S, MR>(simd, &ds, block.ds_rows, key, query);
    for r in (0..MR).step_by(2) {
        for v in 0..2 {
            let to = &mut block.ds_pairs[(key + r) / S::PACK * BLOCK + query + v * V::LANES..];
            write_pair::<V, S>(simd, to, BLOCK, ds[r][v], ds[r + 1][v]);
        }
    }
}

/// Writes a tile to its place in `[key][query]`, in format `S`.
#[inline(always)]
fn write_tile<V: Simd, S: Scalar, const MR: usize>(
    simd: V,
    acc: &[[V::F32; 2]; MR],
    to: &mut [u32],
    key: usize,
    query: usize,
) {
    let to: &mut [S] = bytemuck::cast_slice_mut(to);
    for r in 0..MR {
        for v in 0..2 {
            simd.write(&mut to[(key + r) * BLOCK + query + v * V::LANES..], acc[r][v]);
        }
    }
}

/// Writes all rows of `to`: `sum` times `factor`, rounded.
#[inline(always)]
fn write_rows<V: Simd, S: Scalar>(simd: V, factor: f32, sum: &[f32], mut to: MatMut<S>) {
    let (factor, width) = (simd.splat(factor), to.cols());
    for i in 0..to.rows() {
        let (sum, to) = (&sum[i * width..][..width], to.row_mut(i));
        for c in (0..width).step_by(V::LANES) {
            simd.write(&mut to[c..], simd.mul(simd.read(&sum[c..]), factor));
        }
    }
}

/// `Σ a · b` of two rows whose length is a multiple of 16.
#[inline(always)]
fn dot_rows<V: Simd, S: Scalar>(simd: V, a: &[S], b: &[S]) -> f32 {
    let mut sum = simd.zero();
    for c in (0..a.len()).step_by(V::LANES) {
        sum = simd.mul_add(simd.read(&a[c..]), simd.read(&b[c..]), sum);
    }
    simd.reduce_add(sum)
}
