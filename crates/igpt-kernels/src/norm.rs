//! RMS norm with a gain, forward and backward.
//!
//! One pass computes a row's sum. A second writes the result while the row is still in the L1 cache, so memory is read
//! and written once. The backward kernel adds to the gradient of the residual stream and stores its rounded copy (the
//! operand of the next matrix products) in the same pass.

use crate::isa::{Isa, Kernel};
use crate::simd::Simd;
use crate::{LANE_PAD, MatMut, MatRef, Scalar};

/// RMS norm, row by row: y = x · rstd · gain with rstd = 1 / sqrt(Σ x² / `width` + eps).
///
/// `rstd` is kept for the backward pass. `x` and `y` are rows × cols, `gain` is cols long and `rstd` rows. `width` is
/// the real number of channels. The columns from there to cols, a multiple of [`LANE_PAD`], are zero in `x` and become
/// zero in `y`. A row's bits depend on that row alone. Panics on other shapes.
pub fn rms_norm<S: Scalar>(
    isa: Isa,
    x: MatRef<'_, f32>,
    gain: &[f32],
    width: usize,
    eps: f32,
    y: MatMut<'_, S>,
    rstd: &mut [f32],
) {
    check(x, gain, width);
    assert_eq!((y.rows(), y.cols()), (x.rows(), x.cols()), "the output has the shape of x");
    assert_eq!(rstd.len(), x.rows(), "one rstd a row");
    S::rms_norm(isa, RmsNorm { x, gain, width, eps, y, rstd });
}

/// Backward pass of [`rms_norm`]: adds to the gradients `dx` and `dgain`.
///
/// With n = x · rstd, it adds rstd · (dy · gain − n · mean(dy · gain · n)) to `dx`, and Σ dy · n over the rows, in row
/// order, to `dgain`. `dx_copy` receives the new `dx` rounded to `S`.
///
/// Shapes and padding as in [`rms_norm`]; padding of `dy` must be zero, that of `dx` and `dgain` stays as it is.
pub fn rms_norm_backward<S: Scalar>(
    isa: Isa,
    dy: MatRef<'_, S>,
    x: MatRef<'_, f32>,
    rstd: &[f32],
    gain: &[f32],
    width: usize,
    dx: MatMut<'_, f32>,
    dx_copy: MatMut<'_, S>,
    dgain: &mut [f32],
) {
    check(x, gain, width);
    let shape = (x.rows(), x.cols());
    assert_eq!((dy.rows(), dy.cols()), shape, "dy has the shape of x");
    assert_eq!((dx.rows(), dx.cols()), shape, "dx has the shape of x");
    assert_eq!((dx_copy.rows(), dx_copy.cols()), shape, "the copy of dx has the shape of x");
    assert_eq!((rstd.len(), dgain.len()), shape, "one rstd a row, one dgain a column");
    S::rms_norm_backward(isa, RmsNormBackward { dy, x, rstd, gain, width, dx, dx_copy, dgain });
}

fn check(x: MatRef<'_, f32>, gain: &[f32], width: usize) {
    assert!(x.cols().is_multiple_of(LANE_PAD), "{} columns are not padded to {LANE_PAD}", x.cols());
    assert!(0 < width && width <= x.cols(), "{width} channels in {} columns", x.cols());
    assert_eq!(gain.len(), x.cols(), "one gain a column");
}

pub(crate) struct RmsNorm<'a, S> {
    x: MatRef<'a, f32>,
    gain: &'a [f32],
    width: usize,
    eps: f32,
    y: MatMut<'a, S>,
    rstd: &'a mut [f32],
}

impl<S: Scalar> Kernel for RmsNorm<'_, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(mut self, simd: V) {
        for r in 0..self.x.rows() {
            let x = self.x.row(r);
            // Two sums, because a single one would wait for its own last addition.
            let (mut even, mut odd) = (simd.zero(), simd.zero());
            for pair in x.chunks_exact(2 * V::LANES) {
                let (a, b) = (simd.read(pair), simd.read(&pair[V::LANES..]));
                even = simd.mul_add(a, a, even);
                odd = simd.mul_add(b, b, odd);
            }
            let mean = simd.reduce_add(simd.add(even, odd)) / self.width as f32;
            // An infinite mean would silently make the row 0; the term of 0 times infinity makes it NaN instead.
            let rstd = 1.0 / (mean + self.eps + 0.0 * mean).sqrt();
            self.rstd[r] = rstd;
            let rstd = simd.splat(rstd);
            let columns = x.chunks_exact(V::LANES).zip(self.gain.chunks_exact(V::LANES));
            for ((x, gain), y) in columns.zip(self.y.row_mut(r).chunks_exact_mut(V::LANES)) {
                simd.write(y, simd.mul(simd.mul(simd.read(x), rstd), simd.read(gain)));
            }
        }
    }
}

pub(crate) struct RmsNormBackward<'a, S> {
    dy: MatRef<'a, S>,
    x: MatRef<'a, f32>,
    rstd: &'a [f32],
    gain: &'a [f32],
    width: usize,
    dx: MatMut<'a, f32>,
    dx_copy: MatMut<'a, S>,
    dgain: &'a mut [f32],
}

impl<S: Scalar> Kernel for RmsNormBackward<'_, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(mut self, simd: V) {
        for r in 0..self.x.rows() {
            let (dy, x, rstd) = (self.dy.row(r), self.x.row(r), self.rstd[r]);
            let (mut even, mut odd) = (simd.zero(), simd.zero());
            let pairs = dy.chunks_exact(2 * V::LANES).zip(x.chunks_exact(2 * V::LANES));
            for ((dy, x), gain) in pairs.zip(self.gain.chunks_exact(2 * V::LANES)) {
                even = simd.mul_add(simd.mul(simd.read(dy), simd.read(gain)), simd.read(x), even);
                let (dy, x, gain) = (&dy[V::LANES..], &x[V::LANES..], &gain[V::LANES..]);
                odd = simd.mul_add(simd.mul(simd.read(dy), simd.read(gain)), simd.read(x), odd);
            }
            // The mean of dy · gain · n, negated so that the update below is one fused operation.
            let mean = simd.reduce_add(simd.add(even, odd)) * rstd / self.width as f32;
            let (mean, rstd) = (simd.splat(-mean), simd.splat(rstd));
            let inputs = dy.chunks_exact(V::LANES).zip(x.chunks_exact(V::LANES)).zip(self.gain.chunks_exact(V::LANES));
            let outputs = self.dx.row_mut(r).chunks_exact_mut(V::LANES);
            let outputs = outputs.zip(self.dx_copy.row_mut(r).chunks_exact_mut(V::LANES));
            let outputs = outputs.zip(self.dgain.chunks_exact_mut(V::LANES));
            for (((dy, x), gain), ((dx, dx_copy), dgain)) in inputs.zip(outputs) {
                let (dy, n) = (simd.read(dy), simd.mul(simd.read(x), rstd));
                let projected = simd.mul_add(n, mean, simd.mul(dy, simd.read(gain)));
                let sum = simd.mul_add(projected, rstd, simd.read(dx));
                simd.write(dx, sum);
                simd.write(dx_copy, sum);
                let sum = simd.mul_add(dy, n, simd.read(dgain));
                simd.write(dgain, sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bf16;
    use crate::reference::norm as reference;
    use crate::testing::{EPS, Framed, ROWS, assert_close, values};

    /// Real and padded widths.
    const WIDTHS: [(usize, usize); 5] = [(1, 32), (32, 32), (61, 64), (72, 96), (256, 256)];
    const NORM_EPS: f32 = 1e-5;

    /// Rows of very different sizes, so that neither eps nor the scale can be omitted unnoticed.
    fn rows(rows: usize, width: usize) -> Vec<f64> {
        let x = values(rows * width, 1);
        let scale = |r: usize| [1.0, 1e-3, 300.0][r % 3];
        (0..rows * width).map(|i| x[i] * scale(i / width)).collect()
    }

    fn forward_matches<S: Scalar>(isa: Isa, n: usize, (width, cols): (usize, usize)) {
        let x = Framed::<f32>::new(&rows(n, width), n, width, cols);
        let gain = Framed::<f32>::new(&values(width, 2), 1, width, cols);
        let (mut y, mut rstd) = (Framed::<S>::unset(n, cols), vec![f32::NAN; n]);
        rms_norm(isa, x.view(), gain.view().row(0), width, NORM_EPS, y.view_mut(), &mut rstd);
        y.assert_intact(width);
        let (expected, rstds) = reference::rms_norm(&x.f64s(width), &gain.f64s(width), f64::from(NORM_EPS));
        let relative = (width + 5) as f64 * EPS;
        for (r, expected) in rstds.iter().enumerate() {
            assert_close("rstd", rstd[r], *expected, relative * expected);
        }
        for (i, expected) in expected.iter().enumerate() {
            let found = y.view().row(i / width)[i % width];
            assert_close(&format!("{} y {i}", isa.name()), found, *expected, relative * expected.abs());
        }
    }

    fn backward_matches<S: Scalar>(isa: Isa, n: usize, (width, cols): (usize, usize)) {
        let x = Framed::<f32>::new(&rows(n, width), n, width, cols);
        let gain = Framed::<f32>::new(&values(width, 2), 1, width, cols);
        let dy = Framed::<S>::new(&values(n * width, 3), n, width, cols);
        let (mut dx, mut copy) =
            (Framed::<f32>::new(&values(n * width, 4), n, width, cols), Framed::<S>::unset(n, cols));
        let mut dgain = Framed::<f32>::new(&values(width, 5), 1, width, cols);
        let (dx_before, dgain_before) = (dx.f64s(width), dgain.f64s(width));
        let [x64, gain64, dy64] = [x.f64s(width), gain.f64s(width), dy.f64s(width)];
        let (_, rstds) = reference::rms_norm(&x64, &gain64, f64::from(NORM_EPS));
        let rstd: Vec<f32> = rstds.iter().map(|&r| r as f32).collect();
        rms_norm_backward(
            isa,
            dy.view(),
            x.view(),
            &rstd,
            gain.view().row(0),
            width,
            dx.view_mut(),
            copy.view_mut(),
            dgain.view_mut().row_mut(0),
        );
        dx.assert_intact(width);
        copy.assert_intact(width);
        dgain.assert_intact(width);
        let (dx_new, dgain_new) = reference::rms_norm_backward(&dy64, &x64, &gain64, f64::from(NORM_EPS));
        let mut scale = vec![0.0; width];
        for (i, slope) in dx_new.iter().enumerate() {
            let (r, c) = (i / width, i % width);
            let row = r * width..(r + 1) * width;
            let normed = |i: usize| (x64[i] * rstds[r]).abs();
            let products: f64 = row.map(|j| (dy64[j] * gain64[j - r * width]).abs() * normed(j)).sum();
            let size = rstds[r] * ((dy64[i] * gain64[c]).abs() + normed(i) * products / width as f64);
            let expected = dx_before[i] + slope;
            let tolerance = EPS * ((width + 8) as f64 * size + 2.0 * expected.abs());
            assert_close(&format!("{} dx {i}", isa.name()), dx.view().row(r)[c], expected, tolerance);
            assert_eq!(copy.view().row(r)[c], S::from_f32(dx.view().row(r)[c]), "the copy is dx rounded");
            scale[c] += (dy64[i] * x64[i] * rstds[r]).abs();
        }
        for c in 0..width {
            let tolerance = EPS * (n + 4) as f64 * (scale[c] + dgain_before[c].abs());
            assert_close("dgain", dgain.view().row(0)[c], dgain_before[c] + dgain_new[c], tolerance);
        }
    }

    #[test]
    fn every_isa_normalises_as_the_reference_does() {
        for isa in Isa::available() {
            for n in ROWS {
                for widths in WIDTHS {
                    forward_matches::<f32>(isa, n, widths);
                    forward_matches::<bf16>(isa, n, widths);
                }
            }
        }
    }

    #[test]
    fn every_isa_differentiates_as_the_reference_does() {
        for isa in Isa::available() {
            for n in ROWS {
                for widths in WIDTHS {
                    backward_matches::<f32>(isa, n, widths);
                    backward_matches::<bf16>(isa, n, widths);
                }
            }
        }
    }

    #[test]
    fn a_row_of_zeros_stays_zero() {
        for isa in Isa::available() {
            let (mut y, mut rstd) = ([f32::NAN; 32], [0.0]);
            rms_norm(isa, MatRef::new(&[0.0; 32], 1, 32), &[1.0; 32], 32, 1e-5, MatMut::new(&mut y, 1, 32), &mut rstd);
            assert_eq!(y, [0.0; 32]);
        }
    }
}
