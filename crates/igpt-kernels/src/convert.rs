//! Rounding of f32 to the storage format of activations.

use crate::Scalar;
use crate::isa::{Isa, Kernel};
use crate::simd::Simd;

/// Rounds `src` to the nearest `S`, ties to even, into `dst`; slices of equal length.
pub fn convert<S: Scalar>(isa: Isa, src: &[f32], dst: &mut [S]) {
    assert_eq!(src.len(), dst.len(), "slices of equal length");
    S::convert(isa, Convert { src, dst });
}

pub(crate) struct Convert<'a, S> {
    src: &'a [f32],
    dst: &'a mut [S],
}

impl<S: Scalar> Kernel for Convert<'_, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self, simd: V) {
        let mut src = self.src.chunks_exact(V::LANES);
        let mut dst = self.dst.chunks_exact_mut(V::LANES);
        for (src, dst) in (&mut src).zip(&mut dst) {
            simd.write(dst, simd.read(src));
        }
        simd.write_partial(dst.into_remainder(), simd.read_partial(src.remainder()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bf16;
    use crate::testing::{Framed, ROWS, values};

    #[test]
    fn every_isa_rounds_as_the_scalar_does() {
        for isa in Isa::available() {
            for n in ROWS {
                let src: Vec<f32> = values(n, 1).iter().map(|&x| (x * 1e3) as f32).collect();
                let (mut whole, mut half) = (Framed::<f32>::unset(1, n), Framed::<bf16>::unset(1, n));
                convert(isa, &src, whole.view_mut().row_mut(0));
                convert(isa, &src, half.view_mut().row_mut(0));
                whole.assert_intact(n);
                half.assert_intact(n);
                assert_eq!(whole.view().row(0), src);
                assert_eq!(half.view().row(0), src.iter().map(|&x| bf16::from_f32(x)).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn ties_go_to_even_and_nan_and_infinity_stay() {
        let src = [1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0, f32::INFINITY, -f32::INFINITY, f32::MAX, f32::NAN, -0.0];
        for isa in Isa::available() {
            let mut dst = [bf16::ONE; 7];
            convert(isa, &src, &mut dst);
            let found = dst.map(bf16::to_f32);
            assert_eq!(found[..5], [1.0, 1.0 + 4.0 / 256.0, f32::INFINITY, -f32::INFINITY, f32::INFINITY]);
            assert!(found[5].is_nan());
            assert_eq!(found[6].to_bits(), (-0.0f32).to_bits());
        }
    }
}
