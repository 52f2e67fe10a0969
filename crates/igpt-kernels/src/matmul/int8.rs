//! Matrix products with 8-bit weights, for decoding, where reading the weights dominates the cost.
//!
//! A column of weights is one scale times integers from −127 to 127. A row of activations is one scale times integers
//! of about 13 bits: as many as keep the 32-bit sums from overflowing. Sums are exact, so the only errors are from
//! rounding both operands once.

use super::out::{Finish, Target};
use super::{Out, PANEL_COLS, Tile, run_rows};
use crate::isa::{Isa, Kernel};
use crate::simd::Simd;
use crate::{Buffer, MatRef, Scalar};
use std::ops::Range;

/// Largest integer of a weight.
const WEIGHT_MAX: f32 = 127.0;

/// Distance of prefetching ahead of the multiplications, in bytes.
///
/// Weights come from memory, once, and two units of work per byte are too few to hide its latency.
const AHEAD: usize = 4096;

/// Packed k×n right operand of 8-bit weights, with a scale per column.
///
/// The layout is `[n/32][k/2][32][2]`, like [`Panels`](super::Panels) of bf16 with half the bytes.
#[derive(Clone, Debug)]
pub struct QuantizedPanels {
    values: Buffer<i8>,
    scales: Buffer<f32>,
    k: usize,
    n: usize,
}

impl QuantizedPanels {
    /// Quantizes `weights` (k×n, or n×k if `transposed`) column by column: the largest of a column becomes ±127.
    ///
    /// Panics unless k and n are multiples of 32.
    pub fn new(weights: MatRef<f32>, transposed: bool) -> Self {
        let (k, n) = if transposed { (weights.cols(), weights.rows()) } else { (weights.rows(), weights.cols()) };
        assert!(k.is_multiple_of(PANEL_COLS) && n.is_multiple_of(PANEL_COLS), "{k}×{n} weights are not padded");
        // Reads the source row by row; (i, j) is the place in the operand.
        let each = |f: &mut dyn FnMut(usize, usize, f32)| {
            for r in 0..weights.rows() {
                for (c, &weight) in weights.row(r).iter().enumerate() {
                    let (i, j) = if transposed { (c, r) } else { (r, c) };
                    f(i, j, weight);
                }
            }
        };
        let mut largest = vec![0.0f32; n];
        each(&mut |_, j, weight| largest[j] = largest[j].max(weight.abs()));
        let inverse: Vec<f32> = largest.iter().map(|&max| if max > 0.0 { WEIGHT_MAX / max } else { 0.0 }).collect();
        let (mut values, mut scales) = (Buffer::zeroed(k * n), Buffer::zeroed(n));
        scales.iter_mut().zip(&largest).for_each(|(scale, max)| *scale = max / WEIGHT_MAX);
        each(&mut |i, j, weight| {
            let place = (j / PANEL_COLS * k + i / 2 * 2) * PANEL_COLS + j % PANEL_COLS * 2 + i % 2;
            values[place] = (weight * inverse[j]).round() as i8;
        });
        Self { values, scales, k, n }
    }

    /// Length of the summed dimension.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Number of columns.
    pub fn n(&self) -> usize {
        self.n
    }
}

/// Rows of activations as 16-bit integers with a scale each, allocated once and filled again for every product.
#[derive(Debug, Default)]
pub struct QuantizedRows {
    /// Integers, two neighbours per unit.
    units: Buffer<u32>,
    scales: Buffer<f32>,
    m: usize,
    k: usize,
}

impl QuantizedRows {
    /// Allocates space for `m` rows of up to `k` values.
    pub fn new(m: usize, k: usize) -> Self {
        Self { units: Buffer::zeroed(m * k.div_ceil(2)), scales: Buffer::zeroed(m), m: 0, k: 0 }
    }

    /// Quantizes the rows of `a`, whose length is a multiple of 32.
    ///
    /// A row's bits depend on that row alone. Panics if there is not enough space.
    pub fn fill<S: Scalar>(&mut self, isa: Isa, a: MatRef<S>) {
        (self.m, self.k) = (a.rows(), a.cols());
        assert!(self.k.is_multiple_of(PANEL_COLS), "rows of {} values are not padded", self.k);
        let Self { units, scales, m, k } = self;
        S::fill_int8(
            isa,
            Fill { a, values: bytemuck::cast_slice_mut(&mut units[..*m * *k / 2]), scales: &mut scales[..*m] },
        );
    }
}

pub(crate) struct Fill<'a, S> {
    a: MatRef<'a, S>,
    values: &'a mut [i16],
    scales: &'a mut [f32],
}

impl<S: Scalar> Kernel for Fill<'_, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self, simd: V) {
        let most = largest(self.a.cols());
        for (i, scale) in self.scales.iter_mut().enumerate() {
            let row = self.a.row(i);
            let max = simd.largest_magnitude(row);
            *scale = max / most;
            simd.to_i16(row, if max > 0.0 { most / max } else { 0.0 }, &mut self.values[i * row.len()..][..row.len()]);
        }
    }
}

/// Largest integer of `k` activations whose products with weights stay below 2^31 in sum.
fn largest(k: usize) -> f32 {
    (2f32.powi(31) / (WEIGHT_MAX * k.max(1) as f32)).floor().clamp(1.0, 16383.0) - 1.0
}

/// Computes the product of quantized activations and 8-bit weights, for the columns `columns` of `b`, plus bias.
///
/// `columns` is a range of whole panels, and the bias is that of these columns. `out` is as in
/// [`matmul`](super::matmul). A row's bits depend on that row, `b` and `bias` alone.
///
/// Panics unless the shapes agree.
pub fn matmul_int8<S: Scalar>(
    isa: Isa,
    a: &QuantizedRows,
    b: &QuantizedPanels,
    columns: Range<usize>,
    bias: Option<&[f32]>,
    out: Out<'_, S>,
) {
    let (m, n) = (a.m, columns.len());
    assert_eq!(a.k, b.k, "the summed dimension");
    assert!(columns.start.is_multiple_of(PANEL_COLS) && n.is_multiple_of(PANEL_COLS), "whole panels");
    assert!(bias.is_none_or(|bias| bias.len() == n), "a bias for {n} columns");
    let values = &b.values[columns.start * b.k..columns.end * b.k];
    let target = out.checked(m, n);
    S::matmul_int8(isa, Product { a, values, scales: &b.scales[columns], bias, target });
}

pub(crate) struct Product<'a, S> {
    a: &'a QuantizedRows,
    values: &'a [i8],
    scales: &'a [f32],
    bias: Option<&'a [f32]>,
    target: Target<S>,
}

impl<S: Scalar> Kernel for Product<'_, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self, simd: V) {
        let QuantizedRows { units, scales, m, k } = self.a;
        for col in (0..self.scales.len()).step_by(2 * V::LANES) {
            let panel = &self.values[col / PANEL_COLS * k * PANEL_COLS..][..k * PANEL_COLS];
            // SAFETY: two vectors from `col` lie in the bias, whose length was checked.
            let bias = self.bias.map(|bias| unsafe { bias.as_ptr().add(col) });
            let mut strip = Strip {
                units: k / 2,
                a: units.as_ptr(),
                a_scales: scales.as_ptr(),
                b: panel.as_ptr().wrapping_add(2 * (col % PANEL_COLS)),
                b_scales: self.scales[col..][..2 * V::LANES].as_ptr(),
                finish: Finish { bias, target: self.target, row: 0, col },
            };
            // SAFETY: see `Strip::rows`; `a` and the target have m rows.
            unsafe { run_rows::<V, f32>(simd, *m, &mut strip) };
        }
    }
}

/// All rows times two vectors of columns.
struct Strip<S> {
    units: usize,
    a: *const u32,
    a_scales: *const f32,
    b: *const i8,
    b_scales: *const f32,
    finish: Finish<S>,
}

impl<V: Simd, S: Scalar> Tile<V> for Strip<S> {
    /// # Safety
    /// `a` and the target must have rows `row .. row + MR`.
    #[inline(always)]
    unsafe fn rows<const MR: usize>(&mut self, simd: V, row: usize) {
        // SAFETY: rows of `a` have `units` units, as has the panel rows of 32 pairs, of which two vectors are read from
        // the column's place on; there are two vectors of scales; the caller promises the rows.
        unsafe {
            self.finish.prefetch::<V, MR>(simd, row);
            let a = self.a.add(row * self.units);
            let mut acc = [[simd.splat_unit(0); 2]; MR];
            for u in 0..self.units {
                let b = self.b.add(u * 2 * PANEL_COLS);
                simd.prefetch(b.wrapping_add(AHEAD));
                let right = [simd.load_i8_pairs(b), simd.load_i8_pairs(b.add(2 * V::LANES))];
                for (r, acc) in acc.iter_mut().enumerate() {
                    let left = simd.splat_unit(a.add(r * self.units + u).read());
                    for (acc, &right) in acc.iter_mut().zip(&right) {
                        *acc = simd.dot_i16(left, right, *acc);
                    }
                }
            }
            let b_scales = [simd.load_f32(self.b_scales), simd.load_f32(self.b_scales.add(V::LANES))];
            let mut sums = [[simd.zero(); 2]; MR];
            for (r, (sums, acc)) in sums.iter_mut().zip(&acc).enumerate() {
                let a_scale = simd.splat(self.a_scales.add(row + r).read());
                for v in 0..2 {
                    sums[v] = simd.mul(simd.mul(simd.integers_to_f32(acc[v]), a_scale), b_scales[v]);
                }
            }
            self.finish.store(simd, row, sums);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MatMut;
    use crate::bf16;
    use crate::reference;
    use crate::testing::{Framed, ROWS, values};

    /// Tests m×k times k×n on every instruction set.
    ///
    /// The error must be within the rounding of both operands. The bits must be the same on all of them, for any cut of
    /// rows and columns.
    fn check(m: usize, k: usize, n: usize) {
        let a = Framed::<bf16>::new(&values(m * k, 1), m, k, k);
        let w = Framed::<f32>::new(&values(k * n, 2), k, n, n);
        let transposed: Vec<f64> = (0..n * k).map(|i| w.view().row(i % k)[i / k] as f64).collect();
        let transposed = Framed::<f32>::new(&transposed, n, k, k);
        let b = QuantizedPanels::new(w.view(), false);
        let again = QuantizedPanels::new(transposed.view(), true);
        assert_eq!((&b.values[..], &b.scales[..]), (&again.values[..], &again.scales[..]));
        let bias: Vec<f32> = values(n, 3).into_iter().map(|x| x as f32).collect();
        let (sums, _) = reference::matmul::matmul(a.view(), w.view());
        let mut first: Option<Vec<f64>> = None;
        for isa in Isa::available() {
            let mut rows = QuantizedRows::new(m, k);
            rows.fill(isa, a.view());
            let mut out = Framed::<f32>::unset(m, n);
            matmul_int8::<bf16>(isa, &rows, &b, 0..n, Some(&bias), Out::F32(out.view_mut()));
            out.assert_intact(n);
            let found = out.f64s(n);
            for (i, &found) in found.iter().enumerate() {
                // Half a step of each weight and activation, with random signs, over as many terms.
                let tolerance = 4.0 * (k as f64).sqrt() * 2.0 * (0.5 / 127.0 + 0.5 / largest(k) as f64) + 1e-5;
                let expected = sums[i] + bias[i % n] as f64;
                let what = format!("{} {m}×{k}×{n} at {i}: {found} is not {expected}", isa.name());
                assert!((found - expected).abs() < tolerance, "{what}");
            }
            assert_eq!(&found, first.get_or_insert(found.clone()), "{}", isa.name());

            let mut cut = vec![0.0; m * n];
            let mut view = MatMut::new(&mut cut, m, n);
            for row in 0..m {
                let mut one = QuantizedRows::new(1, k);
                one.fill(isa, a.view().view(row, 1, 0, k));
                for col in (0..n).step_by(PANEL_COLS) {
                    let columns = col..col + PANEL_COLS;
                    let out = Out::F32(view.view(row, 1, col, PANEL_COLS));
                    matmul_int8::<bf16>(isa, &one, &b, columns.clone(), Some(&bias[columns]), out);
                }
            }
            assert!(cut.iter().zip(&found).all(|(&cut, &found)| cut as f64 == found), "{} cut", isa.name());
        }
    }

    #[test]
    fn products_of_8_bit_weights_are_close_and_the_same_everywhere() {
        for m in ROWS.into_iter().filter(|&m| m < 20) {
            for (k, n) in [(32, 32), (64, 64), (96, 96), (2048, 32)] {
                check(m, k, n);
            }
        }
    }

    #[test]
    fn the_largest_operands_do_not_overflow() {
        let k = 4096;
        let (a, w) = (vec![1.0f32; k], vec![1.0f32; k * PANEL_COLS]);
        let b = QuantizedPanels::new(MatRef::new(&w, k, PANEL_COLS), false);
        for isa in Isa::available() {
            let mut rows = QuantizedRows::new(1, k);
            rows.fill(isa, MatRef::new(&a, 1, k));
            let mut out = vec![0.0; PANEL_COLS];
            let target = Out::F32(MatMut::new(&mut out, 1, PANEL_COLS));
            matmul_int8::<f32>(isa, &rows, &b, 0..PANEL_COLS, None, target);
            assert!(out.iter().all(|x| (x / k as f32 - 1.0).abs() < 1e-5), "{} {}", isa.name(), out[0]);
        }
    }

    #[test]
    fn zero_weights_and_rows_give_zero() {
        let b = QuantizedPanels::new(MatRef::new(&[0.0; 1024], 32, 32), false);
        let mut rows = QuantizedRows::new(1, 32);
        rows.fill(Isa::Portable, MatRef::new(&[0.0f32; 32], 1, 32));
        let mut out = [1.0; 32];
        matmul_int8::<f32>(Isa::Portable, &rows, &b, 0..32, None, Out::F32(MatMut::new(&mut out, 1, 32)));
        assert_eq!(out, [0.0; 32]);
    }
}
