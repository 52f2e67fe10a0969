//! Product of activations and packed weights, finished in registers.
//!
//! The left operand needs no packing: its rows are broadcast from where they are. Bias, activation and rounding happen
//! while the sums are still in registers, so that no f32 product ever goes through memory for them.

use super::out::{Finish, Target};
use super::{Out, PANEL_COLS, PanelsRef, Tile, run_rows, tile};
use crate::amx::{self, Amx, Sums, TILE_UNITS, Tiles};
use crate::isa::{Isa, Kernel};
use crate::simd::Simd;
use crate::{MatRef, Scalar};

/// Computes the matrix product a (m×k) · b (k×n) + bias into `out`.
///
/// The bits of a row depend on that row, `b` and `bias` alone: neither on `m` nor on the row's position.
///
/// Panics unless the shapes agree: `a.cols()` is `b`'s k, the bias has n values, and for bf16 the stride of `a` is
/// even.
pub fn matmul<'b, S: Scalar>(
    isa: Isa,
    a: MatRef<S>,
    b: impl Into<PanelsRef<'b, S>>,
    bias: Option<&[f32]>,
    out: Out<'_, S>,
) {
    let b = b.into();
    let (m, n) = (a.rows(), b.n);
    assert_eq!(a.cols(), b.k, "the summed dimension");
    assert!(m <= 1 || a.stride().is_multiple_of(S::PACK), "rows of the left operand start at whole units");
    assert!(bias.is_none_or(|bias| bias.len() == n), "a bias for {n} columns");
    let target = out.checked(m, n);
    S::matmul(isa, Product { a, b, bias, target, amx: isa.amx::<S>() });
}

pub(crate) struct Product<'a, S> {
    a: MatRef<'a, S>,
    b: PanelsRef<'a, S>,
    bias: Option<&'a [f32]>,
    target: Target<S>,
    amx: Option<Amx>,
}

/// Size in bytes of a row block of the left operand, half of a usual L2 cache.
///
/// The block stays there while each panel is read once.
const ROW_BLOCK_BYTES: usize = 256 << 10;
/// Multiple of every tile's height.
const ROW_STEP: usize = 96;
/// Size in bytes of a block of panels for products with matrix instructions, where the roles are reversed.
///
/// These panels stay in the L2 cache, which has 2 MiB on such processors, and are read for every 32 rows, which stay in
/// the L1 cache up to about 600 columns.
const PANEL_BLOCK_BYTES: usize = 1 << 20;

impl<S: Scalar> Kernel for Product<'_, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self, simd: V) {
        let units = self.b.k / S::PACK;
        // With matrix instructions, tiles sum whole tiles of the summed dimension, and vectors the rest.
        match self.amx.filter(|_| units >= TILE_UNITS) {
            Some(amx) => self.run_with_tiles(simd, &mut Tiles::new(amx)),
            None => self.run_with_vectors(simd),
        }
    }
}

impl<S: Scalar> Product<'_, S> {
    #[inline(always)]
    fn run_with_vectors<V: Simd>(&self, simd: V) {
        let m = self.a.rows();
        let row_block = (ROW_BLOCK_BYTES / (4 * (self.b.k / S::PACK).max(1))).max(1).next_multiple_of(ROW_STEP);
        for first in (0..m).step_by(row_block) {
            for col in (0..self.b.n).step_by(2 * V::LANES) {
                // SAFETY: the rows are `a`'s and the target's.
                unsafe { run_rows::<V, S>(simd, row_block.min(m - first), &mut self.strip(first, col)) }
            }
        }
    }

    #[inline(always)]
    fn run_with_tiles<V: Simd>(&self, simd: V, tiles: &mut Tiles) {
        let (m, n, units) = (self.a.rows(), self.b.n, self.b.k / S::PACK);
        let col_block = (PANEL_BLOCK_BYTES / (4 * units)).max(1).next_multiple_of(PANEL_COLS);
        for first in (0..n).step_by(col_block) {
            for row in (0..m).step_by(amx::BLOCK) {
                for col in (first..n.min(first + col_block)).step_by(PANEL_COLS) {
                    // SAFETY: the rows are `a`'s and the target's; with tiles vectors have sixteen lanes, so that a
                    // strip is a whole panel.
                    unsafe { self.strip(row, col).run_block(simd, amx::BLOCK.min(m - row), tiles) }
                }
            }
        }
    }

    /// The rows from `row` on, and two vectors of columns from `col` on.
    #[inline(always)]
    fn strip(&self, row: usize, col: usize) -> Strip<'_, S> {
        let units = self.b.k / S::PACK;
        let panel = &self.b.units[col / PANEL_COLS * units * PANEL_COLS..][..units * PANEL_COLS];
        // Panels are as wide as two vectors or wider, and `n` is a multiple of their width: so many values are there.
        let bias = self.bias.map(|bias| bias[col..].as_ptr());
        Strip {
            units,
            a: self.a.as_ptr().wrapping_add(row * self.a.stride()).cast(),
            a_row: self.a.stride() / S::PACK,
            b: panel.as_ptr().wrapping_add(col % PANEL_COLS),
            begun: None,
            finish: Finish { bias, target: self.target, row, col },
        }
    }
}

/// Block of rows times two vectors of columns of one panel.
struct Strip<'s, S> {
    units: usize,
    a: *const u32,
    a_row: usize,
    b: *const u32,
    /// Sums of all earlier units.
    begun: Option<&'s Sums>,
    finish: Finish<S>,
}

impl<S: Scalar> Strip<'_, S> {
    /// Computes the first `rows` rows, at most a block of tiles; tiles compute the bulk of each sum.
    ///
    /// # Safety
    /// As [`Tile::rows`] for rows 0 .. `rows`; a strip must be as wide as a panel.
    #[inline(always)]
    unsafe fn run_block<V: Simd>(&self, simd: V, rows: usize, tiles: &mut Tiles) {
        let blocks = self.units / TILE_UNITS;
        let summed = blocks * TILE_UNITS;
        let halves = [self.a, self.a.wrapping_add(amx::TILE_ROWS * self.a_row)].map(<*const u32>::cast);
        let left = amx::Left { halves, row: 4 * self.a_row, block: 4 * TILE_UNITS };
        // SAFETY: these rows are the caller's, and both operands have `units` units.
        unsafe {
            for row in 0..rows {
                self.finish.prefetch::<V, 1>(simd, row);
            }
            let sums = tiles.product(rows, blocks, left, self.b);
            if summed == self.units {
                for (row, sums) in sums[..rows].iter().enumerate() {
                    self.finish.store::<V, 1>(simd, row, amx::vectors(simd, sums));
                }
            } else {
                let (a, b) = (self.a.wrapping_add(summed), self.b.wrapping_add(summed * PANEL_COLS));
                let mut rest = Strip { units: self.units - summed, a, b, begun: Some(sums), ..*self };
                run_rows::<V, S>(simd, rows, &mut rest);
            }
        }
    }
}

impl<V: Simd, S: Scalar> Tile<V> for Strip<'_, S> {
    /// # Safety
    /// `a` and the target must have rows `row .. row + MR` from the strip's first on.
    #[inline(always)]
    unsafe fn rows<const MR: usize>(&mut self, simd: V, row: usize) {
        // SAFETY: `matmul` checked that all rows of `a` have `units` whole units, panels have `units` rows of 32, and
        // targets n columns, a multiple of 32; the caller promises the rows.
        unsafe {
            let begun = match self.begun {
                Some(sums) => amx::vectors(simd, sums[row..].as_flattened()),
                None => {
                    self.finish.prefetch::<V, MR>(simd, row);
                    [[simd.zero(); 2]; MR]
                }
            };
            let a = self.a.wrapping_add(row * self.a_row);
            let acc = tile::<V, S, MR, 2>(simd, self.units, a, self.a_row, 1, self.b, PANEL_COLS, begun);
            self.finish.store(simd, row, acc);
        }
    }
}
