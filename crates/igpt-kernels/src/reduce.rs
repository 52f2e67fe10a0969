//! Sums: of columns, of squares, of one buffer and another.
//!
//! Every order of addition is fixed by the shape alone, so that results repeat to the bit.

use crate::Scalar;
use crate::isa::{Isa, Kernel};
use crate::matmul::PANEL_COLS;
use crate::simd::Simd;
use std::marker::PhantomData;

/// Adds `src` to `dst`, slices of equal length.
pub fn add_assign(isa: Isa, dst: &mut [f32], src: &[f32]) {
    assert_eq!(dst.len(), src.len(), "slices of equal length");
    isa.run(AddAssign { dst, src });
}

/// Multiplies `x` by `factor`.
pub fn scale(isa: Isa, x: &mut [f32], factor: f32) {
    isa.run(Scale { x, factor });
}

/// Adds the rows of a panel of units to `out`, one after the other: the gradient of 32 biases.
///
/// [`pack_tokens`](crate::matmul::pack_tokens) makes such panels.
pub fn panel_sums<S: Scalar>(isa: Isa, panel: &[u32], out: &mut [f32]) {
    assert_eq!((panel.len() % PANEL_COLS, out.len()), (0, PANEL_COLS), "one sum a column of a panel");
    S::panel_sums(isa, PanelSums { panel, out, format: PhantomData });
}

/// Sum of squares Σ x² in f64, with the same bits on every instruction set.
///
/// To share the work among threads, cut at fixed places and add the results in order.
pub fn sum_squares(isa: Isa, x: &[f32]) -> f64 {
    isa.run(SumSquares { x })
}

struct AddAssign<'a> {
    dst: &'a mut [f32],
    src: &'a [f32],
}

impl Kernel for AddAssign<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self, _: V) {
        for (dst, src) in self.dst.iter_mut().zip(self.src) {
            *dst += src;
        }
    }
}

struct Scale<'a> {
    x: &'a mut [f32],
    factor: f32,
}

impl Kernel for Scale<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self, _: V) {
        for x in self.x {
            *x *= self.factor;
        }
    }
}

pub(crate) struct PanelSums<'a, S> {
    panel: &'a [u32],
    out: &'a mut [f32],
    format: PhantomData<S>,
}

impl<S: Scalar> Kernel for PanelSums<'_, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self, simd: V) {
        // A unit of ones: its product with another unit is the sum of that one's values.
        let ones = simd.splat_unit(if S::PACK == 2 { 0x3f80_3f80 } else { 0x3f80_0000 });
        for (i, out) in self.out.chunks_exact_mut(V::LANES).enumerate() {
            let mut sum = simd.read(out);
            for row in self.panel.chunks_exact(PANEL_COLS) {
                // SAFETY: a row has 32 units, which are a whole number of vectors.
                let units = unsafe { simd.load_units(row.as_ptr().add(i * V::LANES)) };
                sum = simd.dot::<S>(ones, units, sum);
            }
            simd.write(out, sum);
        }
    }
}

struct SumSquares<'a> {
    x: &'a [f32],
}

/// Number of independent partial sums, enough to hide the latency of an addition on 8 lanes of f64.
const PARTIAL: usize = 32;

impl Kernel for SumSquares<'_> {
    type Output = f64;
    #[inline(always)]
    fn run<V: Simd>(self, _: V) -> f64 {
        let mut sums = [0.0f64; PARTIAL];
        let (blocks, rest) = self.x.as_chunks::<PARTIAL>();
        for block in blocks {
            for (sum, &x) in sums.iter_mut().zip(block) {
                *sum += f64::from(x) * f64::from(x);
            }
        }
        for (sum, &x) in sums.iter_mut().zip(rest) {
            *sum += f64::from(x) * f64::from(x);
        }
        sums.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bf16;
    use crate::matmul::Panels;
    use crate::testing::{EPS, Framed, ROWS, assert_close, values};

    /// Lengths on both sides of every vector and strip.
    const LENGTHS: [usize; 16] = [0, 1, 2, 15, 16, 17, 31, 32, 33, 61, 63, 64, 65, 127, 256, 1000];

    fn panel_sums_match<S: Scalar>(isa: Isa, rows: usize) {
        let dy = Framed::<S>::new(&values(rows * PANEL_COLS, 1), rows, PANEL_COLS, PANEL_COLS);
        let mut panel = Panels::<S>::new(rows, PANEL_COLS);
        panel.pack_tokens(isa, dy.view());
        let mut out = Framed::<f32>::new(&values(PANEL_COLS, 2), 1, PANEL_COLS, PANEL_COLS);
        let (before, dy64) = (out.f64s(PANEL_COLS), dy.f64s(PANEL_COLS));
        panel_sums::<S>(isa, panel.units_mut(), out.view_mut().row_mut(0));
        out.assert_intact(PANEL_COLS);
        for (c, before) in before.into_iter().enumerate() {
            let column = || dy64.iter().skip(c).step_by(PANEL_COLS);
            let expected = before + column().sum::<f64>();
            let size = before.abs() + column().map(|x| x.abs()).sum::<f64>();
            assert_close("column", out.view().row(0)[c], expected, EPS * (rows + 1) as f64 * size);
        }
    }

    #[test]
    fn panel_sums_match_on_every_isa() {
        for isa in Isa::available() {
            for rows in ROWS {
                panel_sums_match::<f32>(isa, rows);
                panel_sums_match::<bf16>(isa, rows);
            }
        }
    }

    #[test]
    fn sums_of_squares_are_f64_and_equal_on_every_isa() {
        for n in LENGTHS {
            let x: Vec<f32> = values(n, 1).iter().map(|&x| (x * 1e30) as f32).collect();
            let expected: f64 = x.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
            let found: Vec<f64> = Isa::available().iter().map(|&isa| sum_squares(isa, &x)).collect();
            assert!((found[0] - expected).abs() <= 1e-13 * expected, "{n}: {} is not {expected}", found[0]);
            assert!(found.iter().all(|f| f.to_bits() == found[0].to_bits()));
        }
    }

    #[test]
    fn adding_and_scaling_touch_every_element_once() {
        for isa in Isa::available() {
            for n in LENGTHS {
                let mut dst: Vec<f32> = (0..n).map(|i| i as f32).collect();
                add_assign(isa, &mut dst, &vec![0.5; n]);
                scale(isa, &mut dst, 2.0);
                assert!(dst.iter().enumerate().all(|(i, &x)| x == 2.0 * i as f32 + 1.0));
            }
        }
    }
}
