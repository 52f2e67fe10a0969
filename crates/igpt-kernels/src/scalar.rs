//! Number formats of matrix products: f32 and bf16.

use half::bf16;

use crate::instances::Instances;

/// Number format for storing activations and packed weights; sums are always f32.
pub trait Scalar:
    Copy + Default + Send + Sync + PartialEq + std::fmt::Debug + bytemuck::Pod + Instances + 'static
{
    /// Number of adjacent values along the summed dimension that share one 32-bit unit (bf16: 2, f32: 1).
    const PACK: usize;
    /// Name of the format, `"bf16"` or `"f32"`.
    const NAME: &'static str;
    /// Rounds an f32 to this format, to nearest even.
    fn from_f32(x: f32) -> Self;
    /// Converts to f32, exactly.
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
