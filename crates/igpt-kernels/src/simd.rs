//! Vector operations that kernels are written in, with one implementation per instruction set.
//!
//! A value that implements [`Simd`] is the proof that the processor has its instructions, so the methods are safe
//! unless they take pointers. Everything is `#[inline(always)]` and becomes real instructions only inside
//! [`Isa::run`](crate::isa::Isa::run).
//!
//! Besides `f32` lanes there are 32-bit *units*. A unit is what one lane of a matrix product takes from its operands in
//! one step: either one f32, or two bf16 that are adjacent along the summed dimension, the first in the low half.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;
#[cfg(test)]
mod tests;

#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub use avx512::Avx512;
pub use portable::Portable;

use crate::Scalar;
use half::bf16;

/// Coefficients of 2^t on [0, 1) as 1 + t·(C[0] + t·(C[1] + …)), with a relative error of 1.4e-7 in f32.
///
/// The minimax fit holds the constant term at 1, so that 2^0 is exactly 1.
const EXP2: [f32; 5] = [0.693_151_3, 0.240_164_45, 0.055_799_913, 0.009_017_03, 0.001_867_130_3];
/// Three coefficients of 2^t instead, with a relative error of 8.6e-5.
#[cfg(target_arch = "x86_64")]
const EXP2_BF16: [f32; 3] = [0.695_116_6, 0.227_645_7, 0.077_066_53];

/// Vector operations of an instruction set, on vectors of [`LANES`](Simd::LANES) values.
///
/// `F32` holds floats, `U32` the units of matrix products, `Mask` one truth value per lane.
pub trait Simd: Copy + Send + Sync + std::fmt::Debug + 'static {
    /// Vector of f32.
    type F32: Copy;
    /// Vector of 32-bit units.
    type U32: Copy;
    /// Vector of one truth value per lane.
    type Mask: Copy;
    /// Number of lanes in a vector, 8 or 16.
    const LANES: usize;
    /// Rows of the [micro-kernel](crate::matmul::tile)'s tile for f32 and bf16 units.
    ///
    /// A tile is two vectors wide and must fit the register file without spills.
    const TILE_ROWS: [usize; 2];

    /// Vector with `x` in all lanes.
    fn splat(self, x: f32) -> Self::F32;
    /// Vector of the lane numbers 0, 1, 2, …
    fn iota(self) -> Self::F32;
    /// Sum a + b.
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// Difference a − b.
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// Product a · b.
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// Quotient a / b.
    fn div(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// Reciprocal 1 / a to 2^−14 relative, for values that will be rounded to bf16.
    ///
    /// Infinity yields 0.
    #[inline(always)]
    fn reciprocal_bf16(self, a: Self::F32) -> Self::F32 {
        self.div(self.splat(1.0), a)
    }
    /// Fused a · b + c, rounded once if the instruction set has FMA.
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;
    /// Larger of a and b; `b` if either is NaN.
    fn max(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// Square root, correctly rounded.
    fn sqrt(self, a: Self::F32) -> Self::F32;
    /// Comparison a < b, false if either is NaN.
    fn less(self, a: Self::F32, b: Self::F32) -> Self::Mask;
    /// Selection of `yes` where the mask is set, `no` elsewhere.
    fn select(self, mask: Self::Mask, yes: Self::F32, no: Self::F32) -> Self::F32;
    /// Exponential 2^x to 4e-7 relative; 2^0 is exactly 1.
    ///
    /// Minus infinity and everything below −150 yield 0 (results under 2^−126 may be flushed to 0). Everything from 128
    /// on yields infinity, and NaN stays NaN.
    fn exp2(self, x: Self::F32) -> Self::F32;
    /// Exponential 2^x to 1e-4 relative, for values that will be rounded to bf16; otherwise as [`exp2`](Simd::exp2).
    #[inline(always)]
    fn exp2_bf16(self, x: Self::F32) -> Self::F32 {
        self.exp2(x)
    }
    /// Sum of all lanes: halves are added to each other until one lane is left.
    fn reduce_add(self, a: Self::F32) -> f32;
    /// Largest lane.
    fn reduce_max(self, a: Self::F32) -> f32;

    /// Loads LANES values of f32.
    ///
    /// # Safety
    /// `p` must be valid for reading LANES values; it need not be aligned to the vector.
    unsafe fn load_f32(self, p: *const f32) -> Self::F32;
    /// Stores LANES values as f32.
    ///
    /// # Safety
    /// `p` must be valid for writing LANES values; it need not be aligned to the vector.
    unsafe fn store_f32(self, p: *mut f32, a: Self::F32);
    /// Loads LANES values of bf16, widened to f32.
    ///
    /// # Safety
    /// `p` must be valid for reading LANES values; it need not be aligned to the vector.
    unsafe fn load_bf16(self, p: *const bf16) -> Self::F32;
    /// Stores LANES values as bf16, rounded to nearest even.
    ///
    /// # Safety
    /// `p` must be valid for writing LANES values; it need not be aligned to the vector.
    unsafe fn store_bf16(self, p: *mut bf16, a: Self::F32);
    /// Rounds every lane to the nearest bf16, as [`store_bf16`](Simd::store_bf16) does.
    fn round_bf16(self, a: Self::F32) -> Self::F32;

    /// Vector with the unit `x` in all lanes.
    fn splat_unit(self, x: u32) -> Self::U32;
    /// Loads LANES units.
    ///
    /// # Safety
    /// `p` must be valid for reading LANES units; it need not be aligned to the vector.
    unsafe fn load_units(self, p: *const u32) -> Self::U32;
    /// Stores LANES units.
    ///
    /// # Safety
    /// `p` must be valid for writing LANES units; it need not be aligned to the vector.
    unsafe fn store_units(self, p: *mut u32, a: Self::U32);
    /// Reinterprets the bits of units as f32.
    fn as_floats(self, a: Self::U32) -> Self::F32;
    /// Reinterprets the bits of f32 as units.
    fn as_units(self, a: Self::F32) -> Self::U32;
    /// Dot product of bf16 halves: c + a.low · b.low + a.high · b.high.
    ///
    /// The order of the two additions, and whether subnormal values count, depend on the instruction set.
    fn dot_bf16(self, a: Self::U32, b: Self::U32, c: Self::F32) -> Self::F32;
    /// Packs two rows of a right operand, one below the other, into one row of bf16 units.
    ///
    /// Lane i is `bf16(low[i]) | bf16(high[i]) << 16`.
    fn pack_bf16(self, low: Self::F32, high: Self::F32) -> Self::U32;
    /// Packs two rows that are bf16 already into one row of units; otherwise as [`pack_bf16`](Simd::pack_bf16).
    ///
    /// # Safety
    /// Both pointers must be valid for reading LANES values; they need not be aligned to the vector.
    unsafe fn interleave_bf16(self, low: *const bf16, high: *const bf16) -> Self::U32;

    /// Loads 2 · LANES values of 8 bits as pairs of 16 bits, the first of a pair in the low half of its unit.
    ///
    /// # Safety
    /// `p` must be valid for reading 2 · LANES values; it need not be aligned to the vector.
    unsafe fn load_i8_pairs(self, p: *const i8) -> Self::U32;
    /// Stores LANES values as 16-bit integers, rounded to nearest even and saturated.
    ///
    /// # Safety
    /// `p` must be valid for writing LANES values; it need not be aligned to the vector.
    unsafe fn store_i16(self, p: *mut i16, a: Self::F32);
    /// Dot product of signed 16-bit halves: c + a.low · b.low + a.high · b.high in 32 bits that wrap around.
    fn dot_i16(self, a: Self::U32, b: Self::U32, c: Self::U32) -> Self::U32;
    /// Converts signed 32-bit integers to f32, rounded to nearest even.
    fn integers_to_f32(self, a: Self::U32) -> Self::F32;

    /// Interleaves a\[0\], b\[0\], a\[1\], b\[1\], … of the lower halves, and then of the upper halves.
    fn zip_units(self, a: Self::U32, b: Self::U32) -> (Self::U32, Self::U32);
    /// Prefetches the cache line at `p`; any address is allowed.
    fn prefetch<T>(self, p: *const T);

    /// Vector with 0 in all lanes.
    #[inline(always)]
    fn zero(self) -> Self::F32 {
        self.splat(0.0)
    }
    /// Adds the product of two units of format `S` to c.
    #[inline(always)]
    fn dot<S: Scalar>(self, a: Self::U32, b: Self::U32, c: Self::F32) -> Self::F32 {
        if S::PACK == 2 { self.dot_bf16(a, b, c) } else { self.mul_add(self.as_floats(a), self.as_floats(b), c) }
    }
    /// Exponential 2^x, accurate enough for a result of format `S`.
    #[inline(always)]
    fn exp2_for<S: Scalar>(self, x: Self::F32) -> Self::F32 {
        if S::PACK == 2 { self.exp2_bf16(x) } else { self.exp2(x) }
    }
    /// Reciprocal 1 / a, accurate enough for a result of format `S`.
    #[inline(always)]
    fn reciprocal_for<S: Scalar>(self, a: Self::F32) -> Self::F32 {
        if S::PACK == 2 { self.reciprocal_bf16(a) } else { self.div(self.splat(1.0), a) }
    }
    /// Height of the tile, [`TILE_ROWS`](Simd::TILE_ROWS), for units of format `S`.
    #[inline(always)]
    fn tile_rows<S: Scalar>(self) -> usize {
        Self::TILE_ROWS[S::PACK - 1]
    }
    /// Loads LANES values of format `S`, widened to f32.
    ///
    /// # Safety
    /// `p` must be valid for reading LANES values; it need not be aligned to the vector.
    #[inline(always)]
    unsafe fn load<S: Scalar>(self, p: *const S) -> Self::F32 {
        // SAFETY: the caller's promise; PACK tells the two formats apart.
        unsafe { if S::PACK == 2 { self.load_bf16(p.cast()) } else { self.load_f32(p.cast()) } }
    }
    /// Stores LANES values rounded to format `S`.
    ///
    /// # Safety
    /// `p` must be valid for writing LANES values; it need not be aligned to the vector.
    #[inline(always)]
    unsafe fn store<S: Scalar>(self, p: *mut S, a: Self::F32) {
        // SAFETY: the caller's promise; PACK tells the two formats apart.
        unsafe { if S::PACK == 2 { self.store_bf16(p.cast(), a) } else { self.store_f32(p.cast(), a) } }
    }
    /// Largest magnitude of a slice whose length is a multiple of LANES; NaN if a value is not finite.
    ///
    /// Values that are rounded by a magnitude of NaN can't become numbers.
    #[inline(always)]
    fn largest_magnitude<S: Scalar>(self, x: &[S]) -> f32 {
        let (mut max, mut finite) = (self.zero(), self.zero());
        for x in x.chunks_exact(Self::LANES) {
            let x = self.read(x);
            max = self.max(max, self.max(x, self.sub(self.zero(), x)));
            // A maximum ignores NaN; 0 times a number is 0, and NaN times anything else.
            finite = self.mul_add(x, self.zero(), finite);
        }
        self.reduce_max(max) + self.reduce_add(finite)
    }
    /// Converts `x` times `factor` to 16-bit integers; slices of equal length, a multiple of LANES.
    #[inline(always)]
    fn to_i16<S: Scalar>(self, x: &[S], factor: f32, to: &mut [i16]) {
        let factor = self.splat(factor);
        for (x, to) in x.chunks_exact(Self::LANES).zip(to.chunks_exact_mut(Self::LANES)) {
            // SAFETY: the chunk has LANES values.
            unsafe { self.store_i16(to.as_mut_ptr(), self.mul(self.read(x), factor)) }
        }
    }
    /// Rounds every lane to format `S`.
    #[inline(always)]
    fn round<S: Scalar>(self, a: Self::F32) -> Self::F32 {
        if S::PACK == 2 { self.round_bf16(a) } else { a }
    }
    /// Reads the first LANES values of the slice, widened to f32.
    ///
    /// Panics if it is shorter.
    #[inline(always)]
    fn read<S: Scalar>(self, from: &[S]) -> Self::F32 {
        let from = &from[..Self::LANES];
        // SAFETY: the slice has LANES values.
        unsafe { self.load(from.as_ptr()) }
    }
    /// Writes the first LANES values of the slice, rounded.
    ///
    /// Panics if it is shorter.
    #[inline(always)]
    fn write<S: Scalar>(self, to: &mut [S], a: Self::F32) {
        let to = &mut to[..Self::LANES];
        // SAFETY: the slice has LANES values.
        unsafe { self.store(to.as_mut_ptr(), a) }
    }
    /// Reads up to LANES values of the slice, as many as it has; the other lanes are 0.
    #[inline(always)]
    fn read_partial<S: Scalar>(self, from: &[S]) -> Self::F32 {
        let mut full = [S::default(); 16];
        let len = from.len().min(Self::LANES);
        full[..len].copy_from_slice(&from[..len]);
        self.read(&full)
    }
    /// Writes as many lanes as the slice has space for.
    #[inline(always)]
    fn write_partial<S: Scalar>(self, to: &mut [S], a: Self::F32) {
        let mut full = [S::default(); 16];
        self.write(&mut full, a);
        let len = to.len().min(Self::LANES);
        to[..len].copy_from_slice(&full[..len]);
    }
}
