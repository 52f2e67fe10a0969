//! Bounds-checked calls of the micro-kernel, and the common parts of forward and backward pass around it.

use super::BLOCK;
use crate::Scalar;
use crate::matmul;
use crate::simd::Simd;

/// `acc[r][v] += Σ_u a[r·a_row + u·a_unit] · b[u·b_unit + v·LANES ..]`, the sum of `units` units.
#[inline(always)]
pub(super) fn tile<V: Simd, S: Scalar, const MR: usize, const NV: usize>(
    simd: V,
    units: usize,
    (a, a_row, a_unit): (&[u32], usize, usize),
    (b, b_unit): (&[u32], usize),
    acc: [[V::F32; NV]; MR],
) -> [[V::F32; NV]; MR] {
    if units == 0 {
        return acc;
    }
    assert!((MR - 1) * a_row + (units - 1) * a_unit < a.len() && (units - 1) * b_unit + NV * V::LANES <= b.len());
    // SAFETY: the largest offsets read were just compared with the lengths.
    unsafe { matmul::tile::<V, S, MR, NV>(simd, units, a.as_ptr(), a_row, a_unit, b.as_ptr(), b_unit, acc) }
}

/// `c = factor · c + a · b` for `MR` rows of `width` columns of f32.
///
/// Both operands are in units along the summed dimension; `b` has `width` units per row. Without `factors` they are 1.
#[inline(always)]
pub(super) fn accumulate<V: Simd, S: Scalar, const MR: usize>(
    simd: V,
    units: usize,
    a: (&[u32], usize, usize),
    b: &[u32],
    width: usize,
    factors: Option<&[f32]>,
    c: &mut [f32],
) {
    let mut column = 0;
    while column + 2 * V::LANES <= width {
        accumulate_columns::<V, S, MR, 2>(simd, units, a, b, width, factors, c, column);
        column += 2 * V::LANES;
    }
    if column < width {
        accumulate_columns::<V, S, MR, 1>(simd, units, a, b, width, factors, c, column);
    }
}

#[inline(always)]
fn accumulate_columns<V: Simd, S: Scalar, const MR: usize, const NV: usize>(
    simd: V,
    units: usize,
    a: (&[u32], usize, usize),
    b: &[u32],
    width: usize,
    factors: Option<&[f32]>,
    c: &mut [f32],
    column: usize,
) {
    let mut acc = [[simd.zero(); NV]; MR];
    for r in 0..MR {
        for v in 0..NV {
            acc[r][v] = simd.read(&c[r * width + column + v * V::LANES..]);
            if let Some(factors) = factors {
                acc[r][v] = simd.mul(acc[r][v], simd.splat(factors[r]));
            }
        }
    }
    acc = tile::<V, S, MR, NV>(simd, units, a, (&b[column..], width), acc);
    for r in 0..MR {
        for v in 0..NV {
            simd.write(&mut c[r * width + column + v * V::LANES..], acc[r][v]);
        }
    }
}

/// Masks the scores of queries before their key in a tile of a diagonal block.
///
/// The tile's rows are the keys from `key`, its lanes the queries from `query`, both relative to the block.
#[inline(always)]
pub(super) fn mask<V: Simd, const MR: usize, const NV: usize>(
    simd: V,
    key: usize,
    query: usize,
    acc: &mut [[V::F32; NV]; MR],
) {
    const EDGE: [f32; 2 * BLOCK] = {
        let mut edge = [0.0; 2 * BLOCK];
        let mut i = 0;
        while i < BLOCK {
            edge[i] = f32::NEG_INFINITY;
            i += 1;
        }
        edge
    };
    for r in 0..MR {
        for v in 0..NV {
            let hidden = (key + r).saturating_sub(query + v * V::LANES).min(BLOCK);
            acc[r][v] = simd.add(acc[r][v], simd.read(&EDGE[BLOCK - hidden..]));
        }
    }
}

/// Masks the rows of a tile from `real` on: keys after the last one.
#[inline(always)]
pub(super) fn hide_rows<V: Simd, const MR: usize, const NV: usize>(simd: V, real: usize, acc: &mut [[V::F32; NV]; MR]) {
    for r in real..MR {
        acc[r] = [simd.splat(f32::NEG_INFINITY); NV];
    }
}

/// Writes two rows of f32 vectors as units along the rows.
///
/// bf16 share one row of units at `to[0]`; f32 take two rows, `stride` apart.
#[inline(always)]
pub(super) fn write_pair<V: Simd, S: Scalar>(simd: V, to: &mut [u32], stride: usize, low: V::F32, high: V::F32) {
    if S::PACK == 2 {
        let to = &mut to[..V::LANES];
        // SAFETY: the slice has LANES units.
        unsafe { simd.store_units(to.as_mut_ptr(), simd.pack_bf16(low, high)) }
    } else {
        let to: &mut [f32] = bytemuck::cast_slice_mut(to);
        simd.write(to, low);
        simd.write(&mut to[stride..], high);
    }
}
