//! Matrix products with few columns: a linear classifier's scores and the gradient of its weights.
//!
//! Ten classes would be mostly padding in panels of 32 columns, and packing the images would take as long as the
//! product. Therefore columns come in strips of 16, and the images are read where they are both times: broadcast value
//! by value for the scores, as vectors along their features for the gradient.

use super::{Tile, run_rows, tile};
use crate::isa::{Isa, Kernel};
use crate::simd::Simd;
use crate::{MatMut, MatRef};

/// Number of columns in a strip: one vector of AVX-512, two of the others.
pub const STRIP_COLS: usize = 16;

/// Computes the matrix product a (m×k) · b (k×n) into `out`, for few columns.
///
/// `b` comes in strips, `[n/16][k][16]`. The bits of a row depend on that row and `b` alone.
///
/// Panics unless the shapes agree and n is a multiple of [`STRIP_COLS`].
pub fn matmul_narrow(isa: Isa, a: MatRef<'_, f32>, b: &[f32], out: MatMut<'_, f32>) {
    assert_eq!(out.cols() % STRIP_COLS, 0, "columns come in strips of {STRIP_COLS}");
    assert_eq!((b.len(), out.rows()), (a.cols() * out.cols(), a.rows()), "the shapes of a product");
    isa.run(Product { a, b, out });
}

/// Adds the weight gradient dyᵀ · x over the m rows of both to dw (n×k), for few columns; `dy` is m×n, `x` m×k.
///
/// The bits of an element depend on its own column of `dy` and of `x` alone.
///
/// Panics unless the shapes agree and k is a multiple of [`STRIP_COLS`].
pub fn matmul_tn_narrow(isa: Isa, dy: MatRef<'_, f32>, x: MatRef<'_, f32>, dw: MatMut<'_, f32>) {
    assert_eq!(x.cols() % STRIP_COLS, 0, "features come in strips of {STRIP_COLS}");
    assert_eq!(dy.rows(), x.rows(), "rows of both operands");
    assert_eq!((dw.rows(), dw.cols()), (dy.cols(), x.cols()), "the shape of a weight gradient");
    isa.run(Gradient { dy, x, dw });
}

struct Product<'a> {
    a: MatRef<'a, f32>,
    b: &'a [f32],
    out: MatMut<'a, f32>,
}

impl Kernel for Product<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(mut self, simd: V) {
        let (m, k) = (self.a.rows(), self.a.cols());
        for col in (0..self.out.cols()).step_by(STRIP_COLS) {
            let mut out = self.out.view(0, m, col, STRIP_COLS);
            // SAFETY: the strip has k rows of 16 columns, and `a` and the view of `out` have m rows.
            unsafe {
                let (left, left_row) = (self.a.as_ptr().cast(), self.a.stride());
                let (right, right_unit) = (self.b.as_ptr().wrapping_add(col * k).cast(), STRIP_COLS);
                let (out, out_row) = (out.as_mut_ptr(), out.stride());
                let add = false;
                let mut strip = Strip { units: k, left, left_row, left_unit: 1, right, right_unit, out, out_row, add };
                run_rows::<V, f32>(simd, m, &mut strip);
            }
        }
    }
}

struct Gradient<'a> {
    dy: MatRef<'a, f32>,
    x: MatRef<'a, f32>,
    dw: MatMut<'a, f32>,
}

impl Kernel for Gradient<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(mut self, simd: V) {
        let n = self.dy.cols();
        for col in (0..self.x.cols()).step_by(STRIP_COLS) {
            let mut dw = self.dw.view(0, n, col, STRIP_COLS);
            // SAFETY: both operands have `units` rows, `dy` n columns and `x` 16 from `col` on; `dw` has n rows.
            unsafe {
                let (left, left_unit) = (self.dy.as_ptr().cast(), self.dy.stride());
                let (right, right_unit) = (self.x.as_ptr().wrapping_add(col).cast(), self.x.stride());
                let (out, out_row) = (dw.as_mut_ptr(), dw.stride());
                let (units, add) = (self.x.rows(), true);
                let mut strip = Strip { units, left, left_row: 1, left_unit, right, right_unit, out, out_row, add };
                run_rows::<V, f32>(simd, n, &mut strip);
            }
        }
    }
}

/// Rows of the left operand, at any location, times 16 columns.
struct Strip {
    units: usize,
    left: *const u32,
    left_row: usize,
    left_unit: usize,
    right: *const u32,
    right_unit: usize,
    out: *mut f32,
    out_row: usize,
    add: bool,
}

impl<V: Simd> Tile<V> for Strip {
    /// # Safety
    /// The left operand and `out` must have rows `row .. row + MR`.
    #[inline(always)]
    unsafe fn rows<const MR: usize>(&mut self, simd: V, row: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            match STRIP_COLS / V::LANES {
                1 => self.vectors::<V, MR, 1>(simd, row),
                2 => self.vectors::<V, MR, 2>(simd, row),
                _ => unreachable!("vectors have 8 or 16 lanes"),
            }
        }
    }
}

impl Strip {
    /// # Safety
    /// As [`Tile::rows`]; NV vectors are 16 columns.
    #[inline(always)]
    unsafe fn vectors<V: Simd, const MR: usize, const NV: usize>(&mut self, simd: V, row: usize) {
        // SAFETY: whoever makes a strip sees to `units` values of each row and of each column; the caller promises the
        // rows.
        unsafe {
            let (left, zero) = (self.left.add(row * self.left_row), [[simd.zero(); NV]; MR]);
            let (left_row, left_unit) = (self.left_row, self.left_unit);
            let acc =
                tile::<V, f32, MR, NV>(simd, self.units, left, left_row, left_unit, self.right, self.right_unit, zero);
            for (r, acc) in acc.iter().enumerate() {
                for (v, &sum) in acc.iter().enumerate() {
                    let at = self.out.add((row + r) * self.out_row + v * V::LANES);
                    simd.store_f32(at, if self.add { simd.add(simd.load_f32(at), sum) } else { sum });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference;
    use crate::testing::{EPS, Framed, ROWS, assert_close, values};

    /// `b` k×n in strips.
    fn strips(b: MatRef<'_, f32>) -> Vec<f32> {
        let columns = |strip: usize| strip * STRIP_COLS..(strip + 1) * STRIP_COLS;
        let row = |strip: usize, i: usize| b.row(i)[columns(strip)].iter().copied();
        (0..b.cols() / STRIP_COLS).flat_map(|strip| (0..b.rows()).flat_map(move |i| row(strip, i))).collect()
    }

    #[test]
    fn scores_match_the_reference_on_every_isa() {
        for isa in Isa::available() {
            for m in ROWS {
                for (k, n) in [(0, 16), (1, 16), (33, 48), (129, 16)] {
                    let a = Framed::<f32>::new(&values(m * k, 1), m, k, k);
                    let b = Framed::<f32>::new(&values(k * n, 2), k, n, n);
                    let mut out = Framed::<f32>::unset(m, n);
                    matmul_narrow(isa, a.view(), &strips(b.view()), out.view_mut());
                    out.assert_intact(n);
                    let (sums, scales) = reference::matmul::matmul(a.view(), b.view());
                    for (i, found) in out.f64s(n).into_iter().enumerate() {
                        let what = format!("{} {m}×{k}×{n} at {i}", isa.name());
                        assert_close(&what, found as f32, sums[i], EPS * scales[i] * (k + 1) as f64);
                    }
                }
            }
        }
    }

    #[test]
    fn gradients_join_what_is_there_on_every_isa() {
        for isa in Isa::available() {
            for m in ROWS {
                for (n, k) in [(1, 16), (2, 0), (10, 144), (17, 32)] {
                    let dy = Framed::<f32>::new(&values(m * n, 1), m, n, n);
                    let x = Framed::<f32>::new(&values(m * k, 2), m, k, k);
                    let old = values(n * k, 3);
                    let mut dw = Framed::<f32>::new(&old, n, k, k);
                    let old = dw.f64s(k);
                    matmul_tn_narrow(isa, dy.view(), x.view(), dw.view_mut());
                    dw.assert_intact(k);
                    let (sums, scales) = reference::matmul::matmul_tn(dy.view(), x.view());
                    for (i, found) in dw.f64s(k).into_iter().enumerate() {
                        let what = format!("{} {n}×{m}×{k} at {i}", isa.name());
                        let tolerance = EPS * (scales[i] + old[i].abs()) * (m + 2) as f64;
                        assert_close(&what, found as f32, old[i] + sums[i], tolerance);
                    }
                }
            }
        }
    }
}
