//! The two number formats that matrix products take: f32 and bf16.

use half::bf16;

use crate::instances::Instances;

/// A storage format of activations and packed weights. Sums are always f32.
pub trait Scalar:
    Copy + Default + Send + Sync + PartialEq + std::fmt::Debug + bytemuck::Pod + Instances + 'static
{
    /// How many neighbouring values along the summed dimension share one 32-bit unit (bf16 2, f32 1).
    const PACK: usize;
    /// `"bf16"` or `"f32"`.
    const NAME: &'static str;
    /// Rounds to nearest even.
    fn from_f32(x: f32) -> Self;
    /// Exact.
    fn to_f32(self) -> f32;
}

impl Scalar for f32 {
    const PACK: usize = 1;
    const NAME: &'static str = "f32";
    #[inline(always)]
    fn from_f32(x: f32) -> Self {
        x
    }
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }
}

impl Scalar for bf16 {
    const PACK: usize = 2;
    const NAME: &'static str = "bf16";
    #[inline(always)]
    fn from_f32(x: f32) -> Self {
        // Branch-free so that loops over it vectorise: ties to even, NaN stays NaN.
        let bits = x.to_bits();
        let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
        let quiet = (bits >> 16) | 0x40;
        bf16::from_bits(if x.is_nan() { quiet } else { rounded } as u16)
    }
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from_bits((self.to_bits() as u32) << 16)
    }
}
