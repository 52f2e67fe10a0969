//! The product of activations and packed weights, finished in registers.
//!
//! The left operand needs no packing: its rows are broadcast from where they are. Bias, activation and rounding
//! happen while the sums are still in registers, so that no f32 product ever goes through memory for them.

use super::{PANEL_COLS, PanelsRef, Tile, run_rows, tile};
use crate::activation::gelu_lanes;
use crate::isa::{Isa, Kernel};
use crate::simd::Simd;
use crate::{MatMut, MatRef, Scalar};

/// Where a product goes and what happens to it on the way. All targets are m×n.
#[derive(Debug)]
pub enum Out<'a, S> {
    /// The f32 sums.
    F32(MatMut<'a, f32>),
    /// The f32 sums are added to what is there.
    AddF32(MatMut<'a, f32>),
    /// Rounded to `S`.
    Store(MatMut<'a, S>),
    /// `pre` is the product rounded to `S`, `out` the quick GELU x · sigmoid(1.702 x) of that rounded value, which is
    /// all that the backward pass will see.
    Gelu {
        /// The product.
        pre: MatMut<'a, S>,
        /// Its activation.
        out: MatMut<'a, S>,
    },
}

impl<S> Out<'_, S> {
    /// Columns of the product.
    pub fn cols(&self) -> usize {
        match self {
            Out::F32(out) | Out::AddF32(out) => out.cols(),
            Out::Store(out) | Out::Gelu { out, .. } => out.cols(),
        }
    }
}

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
    let target = match out {
        Out::F32(out) => Target::F32(Place::new(out, m, n)),
        Out::AddF32(out) => Target::AddF32(Place::new(out, m, n)),
        Out::Store(out) => Target::Store(Place::new(out, m, n)),
        Out::Gelu { pre, out } => Target::Gelu(Place::new(pre, m, n), Place::new(out, m, n)),
    };
    isa.run(Product { a, b, bias, target });
}

/// A checked m×n target.
#[derive(Clone, Copy)]
struct Place<T> {
    start: *mut T,
    stride: usize,
}

impl<T> Place<T> {
    fn new(mut out: MatMut<T>, m: usize, n: usize) -> Self {
        assert_eq!((out.rows(), out.cols()), (m, n), "the shape of a product");
        Self { start: out.as_mut_ptr(), stride: out.stride() }
    }

    /// # Safety
    /// The element must lie in the target.
    #[inline(always)]
    unsafe fn at(self, row: usize, col: usize) -> *mut T {
        // SAFETY: the caller's promise.
        unsafe { self.start.add(row * self.stride + col) }
    }
}

#[derive(Clone, Copy)]
enum Target<S> {
    F32(Place<f32>),
    AddF32(Place<f32>),
    Store(Place<S>),
    Gelu(Place<S>, Place<S>),
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
                        bias: self.bias.map(|bias| bias.as_ptr().add(col)),
                        target: self.target,
                        first,
                        col,
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
    bias: Option<*const f32>,
    target: Target<S>,
    first: usize,
    col: usize,
}

impl<V: Simd, S: Scalar> Tile<V> for Strip<S> {
    /// # Safety
    /// `a` and the target must have rows `row .. row + MR` from `first` on.
    #[inline(always)]
    unsafe fn rows<const MR: usize>(&mut self, simd: V, row: usize) {
        // SAFETY: `matmul` checked that all rows of `a` have `units` whole units, panels have `units` rows of 32, and
        // targets n columns, a multiple of 32; the caller promises the rows.
        unsafe {
            // What is there should have arrived when the sums are done.
            if let Target::AddF32(out) = self.target {
                for r in 0..MR {
                    for v in 0..2 {
                        simd.prefetch(out.at(self.first + row + r, self.col + v * V::LANES));
                    }
                }
            }
            let zero = [[simd.zero(); 2]; MR];
            let a = self.a.add(row * self.a_row);
            let mut acc = tile::<V, S, MR, 2>(simd, self.units, a, self.a_row, 1, self.b, PANEL_COLS, zero);
            if let Some(bias) = self.bias {
                let bias = [simd.load_f32(bias), simd.load_f32(bias.add(V::LANES))];
                for acc in &mut acc {
                    *acc = [simd.add(acc[0], bias[0]), simd.add(acc[1], bias[1])];
                }
            }
            let row = self.first + row;
            match self.target {
                Target::F32(out) => {
                    for (r, acc) in acc.iter().enumerate() {
                        for (v, &sum) in acc.iter().enumerate() {
                            simd.store_f32(out.at(row + r, self.col + v * V::LANES), sum);
                        }
                    }
                }
                Target::AddF32(out) => {
                    for (r, acc) in acc.iter().enumerate() {
                        for (v, &sum) in acc.iter().enumerate() {
                            let at = out.at(row + r, self.col + v * V::LANES);
                            simd.store_f32(at, simd.add(simd.load_f32(at), sum));
                        }
                    }
                }
                Target::Store(out) => {
                    for (r, acc) in acc.iter().enumerate() {
                        for (v, &sum) in acc.iter().enumerate() {
                            simd.store(out.at(row + r, self.col + v * V::LANES), sum);
                        }
                    }
                }
                Target::Gelu(pre, out) => {
                    for (r, acc) in acc.iter().enumerate() {
                        for (v, &sum) in acc.iter().enumerate() {
                            let sum = simd.round::<S>(sum);
                            simd.store(pre.at(row + r, self.col + v * V::LANES), sum);
                            simd.store(out.at(row + r, self.col + v * V::LANES), gelu_lanes(simd, sum));
                        }
                    }
                }
            }
        }
    }
}
