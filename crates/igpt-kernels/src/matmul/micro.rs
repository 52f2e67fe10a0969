//! Micro-kernel of the matrix products: a small tile, summed in registers.
//!
//! The left operand is read where it is, one 32-bit unit broadcast at a time. The right operand comes as rows of units
//! (see [`simd`](crate::simd)). One step of the sum is therefore a broadcast, a load and a multiply-add. Eight rows by
//! two vectors of sixteen keep AVX-512 busy from registers alone.

use crate::Scalar;
use crate::simd::Simd;

/// Micro-kernel: adds a tile of a matrix product to `acc`, `MR` rows by `NV` vectors.
///
/// It computes acc\[r\]\[v\] += Σ_u dot(unit `a[r * a_row + u * a_unit]` in all lanes, units
/// `b[u * b_unit + v * LANES ..]`). Strides count 32-bit units. The sum runs in the order of `u`, for any `MR` and
/// `NV`.
///
/// # Safety
/// `a` must be valid for reading every unit named above (r < MR, u < units), `b` for every vector (v < NV); neither
/// needs to be aligned.
#[inline(always)]
pub unsafe fn tile<V: Simd, S: Scalar, const MR: usize, const NV: usize>(
    simd: V,
    units: usize,
    a: *const u32,
    a_row: usize,
    a_unit: usize,
    b: *const u32,
    b_unit: usize,
    mut acc: [[V::F32; NV]; MR],
) -> [[V::F32; NV]; MR] {
    let (mut a, mut b) = (a, b);
    for _ in 0..units {
        // SAFETY: the caller promises these units; `wrapping_add` because the last step moves past them.
        unsafe {
            let mut right = [simd.splat_unit(0); NV];
            for (v, right) in right.iter_mut().enumerate() {
                *right = simd.load_units(b.add(v * V::LANES));
            }
            for (r, acc) in acc.iter_mut().enumerate() {
                let left = simd.splat_unit(a.add(r * a_row).read_unaligned());
                for (acc, &right) in acc.iter_mut().zip(&right) {
                    *acc = simd.dot::<S>(left, right, *acc);
                }
            }
        }
        a = a.wrapping_add(a_unit);
        b = b.wrapping_add(b_unit);
    }
    acc
}

/// Work on `MR` adjacent rows, compiled for every height up to the full tile's.
pub trait Tile<V: Simd> {
    /// Processes rows `row .. row + MR`.
    ///
    /// Must be `#[inline(always)]`.
    ///
    /// # Safety
    /// As the implementation requires of `row`; [`run_rows`] passes only rows below its `rows`.
    unsafe fn rows<const MR: usize>(&mut self, simd: V, row: usize);
}

/// Runs `tile` over rows `0..rows`: tiles of `V::tile_rows::<S>()` rows, then one of the rest.
///
/// # Safety
/// `tile.rows::<MR>(simd, row)` must be sound wherever `row + MR <= rows`.
#[inline(always)]
pub unsafe fn run_rows<V: Simd, S: Scalar>(simd: V, rows: usize, tile: &mut impl Tile<V>) {
    let full = simd.tile_rows::<S>();
    let mut row = 0;
    while row < rows {
        let height = full.min(rows - row);
        // SAFETY: row + height <= rows. Heights beyond the full tile's are compiled out.
        unsafe {
            match height {
                1 => tile.rows::<1>(simd, row),
                2 => tile.rows::<2>(simd, row),
                3 => tile.rows::<3>(simd, row),
                4 => tile.rows::<4>(simd, row),
                5 if full > 4 => tile.rows::<5>(simd, row),
                6 if full > 4 => tile.rows::<6>(simd, row),
                7 if full > 6 => tile.rows::<7>(simd, row),
                8 if full > 6 => tile.rows::<8>(simd, row),
                _ => unreachable!("tiles have 1 to 8 rows"),
            }
        }
        row += height;
    }
}
