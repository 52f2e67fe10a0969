//! Forward pass of one attention head.

use super::product::{accumulate, hide_rows, mask, tile, write_pair};
use super::scratch::Shape;
use super::tiles::{self, SPAN};
use super::{AttentionScratch, BLOCK, KEYS, Mask, check, pack};
use crate::amx::{self, Amx, Tiles};
use crate::isa::{Isa, Kernel};
use crate::simd::Simd;
use crate::{MatMut, MatRef, Scalar};
use std::f32::consts::LOG2_E;

/// Attention of one head of one image: `out = softmax(scale · q kᵀ + mask) v`.
///
/// `q`, `k`, `v` and `out` are `n_ctx × head_size` views of any stride. `n_ctx` is any number, and `head_size` a
/// multiple of 16 whose padding columns are zero. `scale` (positive) is `1/√(head size without padding)`. `lse`
/// receives the base-2 logarithm of the softmax's denominator per query, which the backward pass needs. Under a causal
/// mask, position `t` of the output depends on positions up to `t` alone.
///
/// Panics on wrong shapes and on scratch made for a smaller head.
pub fn attention_forward<S: Scalar>(
    isa: Isa,
    mask: Mask,
    scale: f32,
    q: MatRef<S>,
    k: MatRef<S>,
    v: MatRef<S>,
    out: MatMut<S>,
    lse: &mut [f32],
    scratch: &mut AttentionScratch,
) {
    let shape = (q.rows(), q.cols());
    check("k", k, shape);
    check("v", v, shape);
    assert_eq!((out.rows(), out.cols()), shape, "out must have the shape of q");
    assert_eq!(lse.len(), shape.0, "one lse per query");
    assert!(scale > 0.0, "scale {scale} must be positive");
    S::attention_forward(isa, Forward { mask, scale, q, k, v, out, lse, scratch, amx: isa.amx::<S>() });
}

pub(crate) struct Forward<'a, S> {
    mask: Mask,
    scale: f32,
    q: MatRef<'a, S>,
    k: MatRef<'a, S>,
    v: MatRef<'a, S>,
    out: MatMut<'a, S>,
    lse: &'a mut [f32],
    scratch: &'a mut AttentionScratch,
    amx: Option<Amx>,
}

impl<S: Scalar> Kernel for Forward<'_, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self, simd: V) {
        if V::LANES == 16 { forward::<V, S, 8>(simd, self) } else { forward::<V, S, 4>(simd, self) }
    }
}

/// Running softmax of a block of queries.
struct Online {
    /// Largest score so far, unscaled.
    max: [f32; BLOCK],
    /// Sum of exponentials so far, relative to `max`.
    sum: [f32; BLOCK],
    /// Factor by which the last block of keys rescaled earlier sums.
    rescale: [f32; BLOCK],
}

#[inline(always)]
fn forward<V: Simd, S: Scalar, const MR: usize>(simd: V, head: Forward<S>) {
    let Forward { mask, scale, q, k, v, mut out, lse, scratch, amx } = head;
    let (n_ctx, width) = (q.rows(), q.cols());
    let units = width / S::PACK;
    let exponent = scale * LOG2_E;
    let mut tiles = tiles::for_heads(amx, width);

    let [k_rows, v_pairs, q_rows, q_columns, scores, p, p_rows, o] =
        scratch.split(Shape::new::<S>(n_ctx, width).forward());
    let (scores, o): (&mut [f32], &mut [f32]) = (bytemuck::cast_slice_mut(scores), bytemuck::cast_slice_mut(o));
    pack::rows(k, k_rows);
    pack::pairs(simd, v, v_pairs);
    pack::rows(q, q_rows);
    pack::columns(q_rows, units, q_columns);

    for first in (0..n_ctx).step_by(BLOCK) {
        let queries = BLOCK.min(n_ctx - first);
        let q_block = &q_columns[first * units..][..BLOCK * units];
        let mut online = Online { max: [f32::NEG_INFINITY; BLOCK], sum: [0.0; BLOCK], rescale: [0.0; BLOCK] };
        o.fill(0.0);
        let seen = if mask == Mask::Causal { first + 1 } else { n_ctx };
        for first_key in (0..seen).step_by(KEYS) {
            let real = KEYS.min(n_ctx - first_key);
            let keys = real.next_multiple_of(MR);
            // Position of the block's queries relative to its keys: after all of them, unless the block meets the
            // diagonal.
            let start = if mask == Mask::Causal { first - first_key } else { KEYS };
            let k_block = &k_rows[first_key * units..];
            for query in (0..queries).step_by(2 * V::LANES) {
                let keys = (keys.min(start + query + 2 * V::LANES), real);
                let q_block = &q_block[query..];
                if let Some(tiles) = &mut tiles {
                    for key in (0..keys.0).step_by(SPAN) {
                        let (k, scores) = (&k_block[key * units..], &mut scores[key * SPAN..]);
                        tiles::product(tiles, units, (k, units), (q_block, BLOCK), SPAN, (scores, SPAN), false);
                    }
                }
                let known = tiles.is_some();
                block_scores::<V, S, MR>(simd, units, k_block, keys, q_block, query, start, known, scores, &mut online);
                block_softmax::<V, S>(simd, exponent, keys.0, query, scores, p, &mut online);
            }
            let v_block = &v_pairs[first_key / S::PACK * width..];
            if let Some(tiles) = &mut tiles {
                for query in (0..queries).step_by(SPAN) {
                    let keys = keys.min(start + query + SPAN);
                    add_values(simd, tiles, keys, query, (p, &mut *p_rows), (v_block, width), &online.rescale, o);
                }
                continue;
            }
            for query in (0..queries).step_by(MR) {
                let keys = keys.min(start + query + MR);
                let (p, rescale) = ((&p[query..], 1, BLOCK), Some(&online.rescale[query..]));
                let o = &mut o[query * width..];
                accumulate::<V, S, MR>(simd, keys / S::PACK, p, v_block, width, rescale, o);
            }
        }
        for query in 0..queries {
            let inverse = simd.splat(1.0 / online.sum[query]);
            let (o, out) = (&o[query * width..][..width], out.row_mut(first + query));
            for c in (0..width).step_by(V::LANES) {
                simd.write(&mut out[c..], simd.mul(simd.read(&o[c..]), inverse));
            }
            lse[first + query] = online.max[query] * exponent + online.sum[query].log2();
        }
    }
}

/// Adds the share of the first `keys` keys to the rescaled output of [`SPAN`] queries from `query` on.
#[inline(always)]
fn add_values<V: Simd>(
    simd: V,
    tiles: &mut Tiles,
    keys: usize,
    query: usize,
    (p, p_rows): (&mut [u32], &mut [u32]),
    (v_block, width): (&[u32], usize),
    rescale: &[f32],
    o: &mut [f32],
) {
    for (o, &factor) in o[query * width..][..SPAN * width].chunks_exact_mut(width).zip(&rescale[query..]) {
        let factor = simd.splat(factor);
        for c in (0..width).step_by(V::LANES) {
            let scaled = simd.mul(simd.read(&o[c..]), factor);
            simd.write(&mut o[c..], scaled);
        }
    }
    // Tiles sum over whole spans of keys; those after the last have probability 0.
    let units = keys.next_multiple_of(SPAN) / 2;
    for unit in keys / 2..units {
        p[unit * BLOCK + query..][..SPAN].fill(0);
    }
    tiles::turn(simd, units, &p[query..], BLOCK, p_rows);
    let (p, o) = ((&*p_rows, KEYS / 2), (&mut o[query * width..], width));
    tiles::product(tiles, units, p, (v_block, width), width, o, true);
}

/// Computes unscaled scores of the first `keys` keys, `real` of them existing, for two vectors of queries from `query`.
///
/// It updates their maximum. If `known`, the products are in `scores` already.
#[inline(always)]
fn block_scores<V: Simd, S: Scalar, const MR: usize>(
    simd: V,
    units: usize,
    k_block: &[u32],
    (keys, real): (usize, usize),
    q_block: &[u32],
    query: usize,
    start: usize,
    known: bool,
    scores: &mut [f32],
    online: &mut Online,
) {
    let mut max = [simd.read(&online.max[query..]), simd.read(&online.max[query + V::LANES..])];
    let previous = max;
    for key in (0..keys).step_by(MR) {
        let mut acc = if known {
            amx::vectors(simd, &scores[key * SPAN..])
        } else {
            let zero = [[simd.zero(); 2]; MR];
            tile::<V, S, MR, 2>(simd, units, (&k_block[key * units..], units, 1), (q_block, BLOCK), zero)
        };
        if key + MR > start + query {
            mask(simd, key, start + query, &mut acc);
        }
        if key + MR > real {
            hide_rows(simd, real.saturating_sub(key), &mut acc);
        }
        for r in 0..MR {
            for v in 0..2 {
                max[v] = simd.max(max[v], acc[r][v]);
                simd.write(&mut scores[((key + r) * 2 + v) * V::LANES..], acc[r][v]);
            }
        }
    }
    for v in 0..2 {
        // At the first block the difference is minus infinity, and the factor is then 0.
        simd.write(&mut online.rescale[query + v * V::LANES..], simd.sub(previous[v], max[v]));
        simd.write(&mut online.max[query + v * V::LANES..], max[v]);
    }
}

/// Computes probabilities, relative to the maximum so far, from the scores of [`block_scores`], as units along keys.
#[inline(always)]
fn block_softmax<V: Simd, S: Scalar>(
    simd: V,
    exponent: f32,
    keys: usize,
    query: usize,
    scores: &[f32],
    p: &mut [u32],
    online: &mut Online,
) {
    let exponent = simd.splat(exponent);
    let (mut negative_max, mut sum) = ([simd.zero(); 2], [simd.zero(); 2]);
    for v in 0..2 {
        let at = query + v * V::LANES;
        negative_max[v] = simd.sub(simd.zero(), simd.mul(simd.read(&online.max[at..]), exponent));
        let rescale = simd.exp2(simd.mul(simd.read(&online.rescale[at..]), exponent));
        sum[v] = simd.mul(simd.read(&online.sum[at..]), rescale);
        simd.write(&mut online.rescale[at..], rescale);
    }
    for key in (0..keys).step_by(2) {
        for v in 0..2 {
            let at = (key * 2 + v) * V::LANES;
            let low = simd.exp2_for::<S>(simd.mul_add(simd.read(&scores[at..]), exponent, negative_max[v]));
            let high =
                simd.exp2_for::<S>(simd.mul_add(simd.read(&scores[at + 2 * V::LANES..]), exponent, negative_max[v]));
            sum[v] = simd.add(sum[v], simd.add(low, high));
            write_pair::<V, S>(simd, &mut p[key / S::PACK * BLOCK + query + v * V::LANES..], BLOCK, low, high);
        }
    }
    for v in 0..2 {
        simd.write(&mut online.sum[query + v * V::LANES..], sum[v]);
    }
}
