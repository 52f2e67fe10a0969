//! Quick GELU of the official code, x · sigmoid(1.702 x), forward and backward.
//!
//! The backward pass recomputes the sigmoid, and returns the activation as well. The MLP's middle is four times as wide
//! as the residual stream, so saving one matrix of that size is worth an exponential.

use std::f32::consts::LOG2_E;

use crate::Scalar;
use crate::isa::{Isa, Kernel};
use crate::simd::Simd;

/// Factor inside the sigmoid.
const SLOPE: f32 = 1.702;

/// Quick GELU: `out` = `pre` · sigmoid(1.702 `pre`), for slices of equal length.
pub fn gelu<S: Scalar>(isa: Isa, pre: &[S], out: &mut [S]) {
    assert_eq!(pre.len(), out.len(), "as many outputs as inputs");
    S::gelu(isa, Gelu { pre, out });
}

/// Backward pass of [`gelu`], for slices of equal length.
///
/// `d` is the gradient of the output, and is overwritten with that of `pre`. `out` receives the activation once more.
pub fn gelu_backward<S: Scalar>(isa: Isa, pre: &[S], d: &mut [S], out: &mut [S]) {
    assert_eq!((d.len(), out.len()), (pre.len(), pre.len()), "as many gradients and outputs as inputs");
    S::gelu_backward(isa, GeluBackward { pre, d, out });
}

/// sigmoid(1.702 x), accurate enough for format `S`.
#[inline(always)]
fn sigmoid<V: Simd, S: Scalar>(simd: V, x: V::F32) -> V::F32 {
    let e = simd.exp2_for::<S>(simd.mul(x, simd.splat(-SLOPE * LOG2_E)));
    simd.reciprocal_for::<S>(simd.add(simd.splat(1.0), e))
}

/// x · sigmoid(1.702 x) lane by lane, accurate enough for format `S`.
#[inline(always)]
pub(crate) fn gelu_lanes<V: Simd, S: Scalar>(simd: V, x: V::F32) -> V::F32 {
    simd.mul(x, sigmoid::<V, S>(simd, x))
}

/// x · s, and `d` times its slope s + 1.702 x s (1 − s).
#[inline(always)]
pub(crate) fn gelu_slope_lanes<V: Simd, S: Scalar>(simd: V, x: V::F32, d: V::F32) -> (V::F32, V::F32) {
    let s = sigmoid::<V, S>(simd, x);
    let out = simd.mul(x, s);
    let rest = simd.mul(simd.sub(simd.splat(1.0), s), simd.splat(SLOPE));
    (out, simd.mul(d, simd.mul_add(out, rest, s)))
}

pub(crate) struct Gelu<'a, S> {
    pre: &'a [S],
    out: &'a mut [S],
}

impl<S: Scalar> Kernel for Gelu<'_, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self, simd: V) {
        let mut pre = self.pre.chunks_exact(V::LANES);
        let mut out = self.out.chunks_exact_mut(V::LANES);
        for (pre, out) in (&mut pre).zip(&mut out) {
            simd.write(out, gelu_lanes::<V, S>(simd, simd.read(pre)));
        }
        let rest = gelu_lanes::<V, S>(simd, simd.read_partial(pre.remainder()));
        simd.write_partial(out.into_remainder(), rest);
    }
}

pub(crate) struct GeluBackward<'a, S> {
    pre: &'a [S],
    d: &'a mut [S],
    out: &'a mut [S],
}

impl<S: Scalar> Kernel for GeluBackward<'_, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self, simd: V) {
        let mut pre = self.pre.chunks_exact(V::LANES);
        let mut d = self.d.chunks_exact_mut(V::LANES);
        let mut out = self.out.chunks_exact_mut(V::LANES);
        for ((pre, d), out) in (&mut pre).zip(&mut d).zip(&mut out) {
            let (y, dx) = gelu_slope_lanes::<V, S>(simd, simd.read(pre), simd.read(d));
            simd.write(d, dx);
            simd.write(out, y);
        }
        let d = d.into_remainder();
        let (y, dx) = gelu_slope_lanes::<V, S>(simd, simd.read_partial(pre.remainder()), simd.read_partial(d));
        simd.write_partial(d, dx);
        simd.write_partial(out.into_remainder(), y);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bf16;
    use crate::reference::activation as reference;
    use crate::testing::{EPS, Framed, ROWS, assert_close, values};

    /// Relative error of the sigmoid if it is not tiny.
    ///
    /// It comes from exp2 and a division (both less accurate for bf16), the exponent and a sum. The rounding of the
    /// exponent is relative to its size, hence the factor |x|.
    fn tolerance<S: Scalar>(x: f64) -> f64 {
        let rough = if S::PACK == 2 { 1e-4 + 2f64.powi(-14) } else { 4e-7 };
        rough + EPS * (6.0 + 4.0 * x.abs())
    }

    fn matches<S: Scalar>(isa: Isa, n: usize) {
        let pre: Vec<f64> = values(n, 1).iter().map(|x| 12.0 * x).collect();
        let pre = Framed::<S>::new(&pre, 1, n, n);
        let mut d = Framed::<S>::new(&values(n, 2), 1, n, n);
        let (mut out, mut again) = (Framed::<S>::unset(1, n), Framed::<S>::unset(1, n));
        let d_before = d.f64s(n);
        gelu(isa, pre.view().row(0), out.view_mut().row_mut(0));
        gelu_backward(isa, pre.view().row(0), d.view_mut().row_mut(0), again.view_mut().row_mut(0));
        for framed in [&d, &out, &again] {
            framed.assert_intact(n);
        }
        assert_eq!(out.view().row(0), again.view().row(0), "the backward pass gives the same activation");
        for (i, x) in pre.f64s(n).into_iter().enumerate() {
            let expected = reference::gelu(x);
            let what = format!("{} {n} gelu({x})", isa.name());
            assert_close(&what, out.view().row(0)[i], expected, tolerance::<S>(x) * expected.abs());
            let expected = d_before[i] * reference::gelu_slope(x);
            let sigmoid = (reference::gelu(x) / x).abs();
            let size = d_before[i].abs() * sigmoid * (1.0 + 1.702 * x.abs());
            assert_close(&what, d.view().row(0)[i], expected, tolerance::<S>(x) * size);
        }
    }

    #[test]
    fn every_isa_matches_the_reference_forward_and_backward() {
        for isa in Isa::available() {
            for n in ROWS {
                matches::<f32>(isa, n);
                matches::<bf16>(isa, n);
            }
        }
    }

    #[test]
    fn the_ends_are_zero_and_the_identity_and_nan_stays() {
        for isa in Isa::available() {
            let mut out = [1.0f32; 5];
            gelu(isa, &[-1e4, -60.0, 0.0, 1e4, f32::NAN], &mut out);
            assert_eq!(out[..4], [0.0, 0.0, 0.0, 1e4]);
            assert!(out[4].is_nan());
            let mut d = [1.0f32; 5];
            gelu_backward(isa, &[-1e4, -60.0, 0.0, 1e4, f32::NAN], &mut d, &mut out);
            assert_eq!(d[..4], [0.0, 0.0, 0.5, 1.0]);
            assert!(d[4].is_nan());
        }
    }
}
