//! The product of activations and packed weights, finished in registers.
//!
//! The left operand needs no packing: its rows are broadcast from where they are. Bias, activation and rounding
//! happen while the sums are still in registers, so that no f32 product ever goes through memory for them.

use super::out::{Finish, Target};
use super::{Out, PANEL_COLS, PanelsRef, Tile, run_rows, tile};
use crate::isa::{Isa, Kernel};
use crate::simd::Simd;
use crate::{MatRef, Scalar};

/// a (m×k) · b (k×n) + bias into `out`. The bits of a row depend on that row, `b` and `bias` alone: neither on `m`
/// nor on the row's place.
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
    isa.run(Product { a, b, bias, target });
}

struct Product<'a, S> {
    a: MatRef<'a, S>,
    b: PanelsRef<'a, S>,
    bias: Option<&'a [f32]>,
    target: Target<S>,
}

/// Rows are taken in blocks of about this many bytes of the left operand, half of a usual L2 cache: they stay there
/// while all panels pass by once.
const ROW_BLOCK_BYTES: usize = 256 << 10;

impl<S: Scalar> Kernel for Product<'_, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self, simd: V) {
        let (m, units) = (self.a.rows(), self.b.k / S::PACK);
        let row_block = (ROW_BLOCK_BYTES / (4 * units.max(1))).next_multiple_of(24);
        for first in (0..m).step_by(row_block) {
            for col in (0..self.b.n).step_by(2 * V::LANES) {
                let panel = &self.b.units[col / PANEL_COLS * units * PANEL_COLS..][..units * PANEL_COLS];
                // SAFETY: row `first` lies in `a`, and the column offset in a panel that is not empty; two vectors
                // from `col` lie in the bias, whose length was checked, since n is a multiple of 32.
                let mut strip = unsafe {
                    Strip {
                        units,
                        a: self.a.as_ptr().add(first * self.a.stride()).cast(),
                        a_row: self.a.stride() / S::PACK,
                        b: panel.as_ptr().wrapping_add(col % PANEL_COLS),
                        finish: Finish {
                            bias: self.bias.map(|bias| bias.as_ptr().add(col)),
                            target: self.target,
                            row: first,
                            col,
                        },
                    }
                };
                // SAFETY: see `Strip::rows`; `a` and the target have rows first .. first + rows.
                unsafe { run_rows::<V, S>(simd, row_block.min(m - first), &mut strip) };
            }
        }
    }
}

/// A block of rows times two vectors of columns of one panel.
struct Strip<S> {
    units: usize,
    a: *const u32,
    a_row: usize,
    b: *const u32,
    finish: Finish<S>,
}

impl<V: Simd, S: Scalar> Tile<V> for Strip<S> {
    /// # Safety
    /// `a` and the target must have rows `row .. row + MR` from `first` on.
    #[inline(always)]
    unsafe fn rows<const MR: usize>(&mut self, simd: V, row: usize) {
        // SAFETY: `matmul` checked that all rows of `a` have `units` whole units, panels have `units` rows of 32, and
        // targets n columns, a multiple of 32; the caller promises the rows.
        unsafe {
            self.finish.prefetch::<V, MR>(simd, row);
            let zero = [[simd.zero(); 2]; MR];
            let a = self.a.add(row * self.a_row);
            let acc = tile::<V, S, MR, 2>(simd, self.units, a, self.a_row, 1, self.b, PANEL_COLS, zero);
            self.finish.store(simd, row, acc);
        }
    }
}
