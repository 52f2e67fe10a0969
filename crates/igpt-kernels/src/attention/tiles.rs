//! Attention's products by matrix instructions, bounds-checked.

use crate::amx::{Amx, BLOCK, Left, Right, SumsAt, TILE_ROWS, TILE_UNITS, Tiles};
use crate::matmul::transpose;
use crate::simd::Simd;

/// Number of keys and queries per product: two vectors of sixteen lanes.
pub(super) const SPAN: usize = BLOCK;

/// Tile registers, if the processor has them and `width` columns of a head consist of whole tiles.
pub(super) fn for_heads(amx: Option<Amx>, width: usize) -> Option<Tiles> {
    amx.filter(|_| width.is_multiple_of(SPAN)).map(Tiles::new)
}

/// `c = a · b`, or `c += a · b` if `add`, for [`SPAN`] rows of `a` and `columns` of `b`, which has `units` rows.
///
/// Each operand comes with its row length. `units` must be a multiple of 16, `columns` one of 32.
pub(super) fn product(
    tiles: &mut Tiles,
    units: usize,
    (a, a_row): (&[u32], usize),
    (b, b_row): (&[u32], usize),
    columns: usize,
    (c, c_row): (&mut [f32], usize),
    add: bool,
) {
    assert!(units.is_multiple_of(TILE_UNITS) && columns > 0 && columns.is_multiple_of(BLOCK));
    if units == 0 {
        assert!(add, "a product of nothing");
        return;
    }
    assert!((SPAN - 1) * a_row + units <= a.len() && (units - 1) * b_row + columns <= b.len());
    assert!((SPAN - 1) * c_row + columns <= c.len());
    let halves = [0, TILE_ROWS].map(|row| a[row * a_row..].as_ptr().cast());
    let left = Left { halves, row: 4 * a_row, block: 4 * TILE_UNITS };
    for column in (0..columns).step_by(BLOCK) {
        let right = Right { start: b[column..].as_ptr(), row: 4 * b_row };
        let sums = SumsAt { start: c[column..].as_mut_ptr(), row: 4 * c_row, add };
        // SAFETY: the farthest that each is read or written was just compared with its length.
        unsafe { tiles.product_into(BLOCK, units / TILE_UNITS, left, right, sums) }
    }
}

/// Transposes `[unit][query]`, rows of `stride` units, into [`SPAN`] rows of `units`, each `to.len() / SPAN` long.
#[inline(always)]
pub(super) fn turn<V: Simd>(simd: V, units: usize, from: &[u32], stride: usize, to: &mut [u32]) {
    let row = to.len() / SPAN;
    for query in (0..SPAN).step_by(V::LANES) {
        for unit in (0..units).step_by(V::LANES) {
            let columns = transpose(simd, &from[unit * stride + query..], stride);
            for (i, &column) in columns.iter().enumerate().take(V::LANES) {
                let to = &mut to[(query + i) * row + unit..][..V::LANES];
                // SAFETY: the slice is one vector long.
                unsafe { simd.store_units(to.as_mut_ptr(), column) }
            }
        }
    }
}
