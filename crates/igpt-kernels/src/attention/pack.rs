//! Packed formats of a head's operands.
//!
//! A 32-bit unit holds one f32, or two bf16 that are neighbours along the dimension that a product sums over. Rows
//! after the last are zero up to the next whole block.

use super::BLOCK;
use crate::simd::Simd;
use crate::{MatRef, Scalar};

/// `[row][column unit]`: the left operand of a sum over columns.
///
/// The rows are contiguous, since the stride of the view would make them compete for the same few cache sets.
#[inline(always)]
pub(super) fn rows<S: Scalar>(x: MatRef<S>, to: &mut [u32]) {
    let to: &mut [S] = bytemuck::cast_slice_mut(to);
    let (filled, padding) = to.split_at_mut(x.rows() * x.cols());
    for (i, to) in filled.chunks_exact_mut(x.cols()).enumerate() {
        to.copy_from_slice(x.row(i));
    }
    padding.fill(S::default());
}

/// `[row unit][column]`: the right operand of a sum over rows.
#[inline(always)]
pub(super) fn pairs<V: Simd, S: Scalar>(simd: V, x: MatRef<S>, to: &mut [u32]) {
    if S::PACK == 1 {
        return rows(x, to);
    }
    let zeros = [S::default(); 16];
    for (pair, to) in to.chunks_exact_mut(x.cols()).enumerate() {
        for (c, to) in to.chunks_exact_mut(V::LANES).enumerate() {
            let columns = c * V::LANES..(c + 1) * V::LANES;
            let low = if 2 * pair < x.rows() { &x.row(2 * pair)[columns.clone()] } else { &zeros[..V::LANES] };
            let high = if 2 * pair + 1 < x.rows() { &x.row(2 * pair + 1)[columns] } else { &zeros[..V::LANES] };
            // SAFETY: all three slices have LANES elements, and S is bf16, the only format with two to a unit.
            unsafe {
                let units = simd.interleave_bf16(low.as_ptr().cast(), high.as_ptr().cast());
                simd.store_units(to.as_mut_ptr(), units);
            }
        }
    }
}

/// `[block of rows][column unit][row in block]`: the right operand of a sum over columns, from the packed
/// [`rows`] of `units` units each.
#[inline(always)]
pub(super) fn columns(rows: &[u32], units: usize, to: &mut [u32]) {
    const TILE: usize = 8;
    for (from, to) in rows.chunks_exact(BLOCK * units).zip(to.chunks_exact_mut(BLOCK * units)) {
        for u0 in (0..units).step_by(TILE) {
            for r0 in (0..BLOCK).step_by(TILE) {
                let mut tile = [[0; TILE]; TILE];
                for (r, tile) in tile.iter_mut().enumerate() {
                    tile.copy_from_slice(&from[(r0 + r) * units + u0..][..TILE]);
                }
                for u in 0..TILE {
                    let mut lane = [0; TILE];
                    for r in 0..TILE {
                        lane[r] = tile[r][u];
                    }
                    to[(u0 + u) * BLOCK + r0..][..TILE].copy_from_slice(&lane);
                }
            }
        }
    }
}
