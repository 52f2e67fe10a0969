//! Vectors of eight lanes in plain Rust for every processor; the compiler vectorises them as its baseline allows.

use super::{EXP2, Simd};
use crate::Scalar;
use half::bf16;

/// Plain Rust arrays as vectors of eight lanes, on every processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Portable;

const LANES: usize = 8;

/// Vector of eight values, aligned so that they fill whole registers.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
#[expect(unnameable_types, reason = "a format of one instruction set")]
pub struct Lanes<T>([T; LANES]);

impl<T: Copy> Lanes<T> {
    #[inline(always)]
    fn map<U: Copy + Default>(self, f: impl Fn(T) -> U) -> Lanes<U> {
        let mut out = [U::default(); LANES];
        for (out, &x) in out.iter_mut().zip(&self.0) {
            *out = f(x);
        }
        Lanes(out)
    }
    #[inline(always)]
    fn zip<U: Copy, W: Copy + Default>(self, other: Lanes<U>, f: impl Fn(T, U) -> W) -> Lanes<W> {
        let mut out = [W::default(); LANES];
        for (out, (&a, &b)) in out.iter_mut().zip(self.0.iter().zip(&other.0)) {
            *out = f(a, b);
        }
        Lanes(out)
    }
}

#[inline(always)]
fn exp2(x: f32) -> f32 {
    // −127 becomes a factor of 0 and 128 one of infinity below; written so that NaN passes.
    let x = if x < -127.0 { -127.0 } else { x };
    let x = if x > 128.0 { 128.0 } else { x };
    // Adding 1.5·2^23 rounds to an integer in the low bits without a call into libm.
    let nearest = x + 12_582_912.0 - 12_582_912.0;
    let floor = if nearest > x { nearest - 1.0 } else { nearest };
    let t = x - floor;
    let power = EXP2.iter().rev().fold(0.0, |sum, &c| sum * t + c) * t + 1.0;
    let exponent = ((floor + 12_582_912.0).to_bits().wrapping_add(127)) << 23;
    power * f32::from_bits(exponent)
}

#[inline(always)]
fn low(unit: u32) -> f32 {
    f32::from_bits(unit << 16)
}

#[inline(always)]
fn high(unit: u32) -> f32 {
    f32::from_bits(unit & 0xffff_0000)
}

impl Simd for Portable {
    type F32 = Lanes<f32>;
    type U32 = Lanes<u32>;
    type Mask = Lanes<bool>;
    const LANES: usize = LANES;
    const TILE_ROWS: [usize; 2] = [4, 4];

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F32 {
        Lanes([x; LANES])
    }
    #[inline(always)]
    fn iota(self) -> Self::F32 {
        Lanes([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    }
    #[inline(always)]
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        a.zip(b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        a.zip(b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        a.zip(b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        a.zip(b, |a, b| a / b)
    }
    #[inline(always)]
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32 {
        // f32::mul_add would be a slow call if the baseline has no FMA.
        a.zip(b, |a, b| a * b).zip(c, |ab, c| ab + c)
    }
    #[inline(always)]
    fn max(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        a.zip(b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn sqrt(self, a: Self::F32) -> Self::F32 {
        a.map(f32::sqrt)
    }
    #[inline(always)]
    fn less(self, a: Self::F32, b: Self::F32) -> Self::Mask {
        a.zip(b, |a, b| a < b)
    }
    #[inline(always)]
    fn select(self, mask: Self::Mask, yes: Self::F32, no: Self::F32) -> Self::F32 {
        mask.zip(yes.zip(no, |yes, no| (yes, no)), |mask, (yes, no)| if mask { yes } else { no })
    }
    #[inline(always)]
    fn exp2(self, x: Self::F32) -> Self::F32 {
        x.map(exp2)
    }
    #[inline(always)]
    fn reduce_add(self, a: Self::F32) -> f32 {
        let a = a.0;
        let four = [a[0] + a[4], a[1] + a[5], a[2] + a[6], a[3] + a[7]];
        (four[0] + four[2]) + (four[1] + four[3])
    }
    #[inline(always)]
    fn reduce_max(self, a: Self::F32) -> f32 {
        a.0.iter().fold(f32::NEG_INFINITY, |max, &x| if x > max { x } else { max })
    }
    #[inline(always)]
    unsafe fn load_f32(self, p: *const f32) -> Self::F32 {
        // SAFETY: the caller promises eight readable values.
        Lanes(unsafe { p.cast::<[f32; LANES]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store_f32(self, p: *mut f32, a: Self::F32) {
        // SAFETY: the caller promises room for eight values.
        unsafe { p.cast::<[f32; LANES]>().write_unaligned(a.0) }
    }
    #[inline(always)]
    unsafe fn load_bf16(self, p: *const bf16) -> Self::F32 {
        // SAFETY: the caller promises eight readable values; any 16 bits are a valid u16.
        Lanes(unsafe { p.cast::<[u16; LANES]>().read_unaligned() }).map(|x| low(x as u32))
    }
    #[inline(always)]
    unsafe fn store_bf16(self, p: *mut bf16, a: Self::F32) {
        let bits = a.map(|x| <bf16 as Scalar>::from_f32(x).to_bits()).0;
        // SAFETY: the caller promises room for eight values.
        unsafe { p.cast::<[u16; LANES]>().write_unaligned(bits) }
    }
    #[inline(always)]
    fn round_bf16(self, a: Self::F32) -> Self::F32 {
        a.map(|x| <bf16 as Scalar>::from_f32(x).to_f32())
    }
    #[inline(always)]
    fn splat_unit(self, x: u32) -> Self::U32 {
        Lanes([x; LANES])
    }
    #[inline(always)]
    unsafe fn load_units(self, p: *const u32) -> Self::U32 {
        // SAFETY: the caller promises eight readable units.
        Lanes(unsafe { p.cast::<[u32; LANES]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store_units(self, p: *mut u32, a: Self::U32) {
        // SAFETY: the caller promises room for eight units.
        unsafe { p.cast::<[u32; LANES]>().write_unaligned(a.0) }
    }
    #[inline(always)]
    fn as_floats(self, a: Self::U32) -> Self::F32 {
        a.map(f32::from_bits)
    }
    #[inline(always)]
    fn as_units(self, a: Self::F32) -> Self::U32 {
        a.map(f32::to_bits)
    }
    #[inline(always)]
    fn dot_bf16(self, a: Self::U32, b: Self::U32, c: Self::F32) -> Self::F32 {
        let c = self.mul_add(a.map(low), b.map(low), c);
        self.mul_add(a.map(high), b.map(high), c)
    }
    #[inline(always)]
    fn pack_bf16(self, low: Self::F32, high: Self::F32) -> Self::U32 {
        low.zip(high, |low, high| {
            let low = <bf16 as Scalar>::from_f32(low).to_bits() as u32;
            low | (<bf16 as Scalar>::from_f32(high).to_bits() as u32) << 16
        })
    }
    #[inline(always)]
    unsafe fn interleave_bf16(self, low: *const bf16, high: *const bf16) -> Self::U32 {
        // SAFETY: the caller promises eight readable values at both; any 16 bits are a valid u16.
        let (low, high) =
            unsafe { (low.cast::<[u16; LANES]>().read_unaligned(), high.cast::<[u16; LANES]>().read_unaligned()) };
        Lanes(low).zip(Lanes(high), |low, high| low as u32 | (high as u32) << 16)
    }
    #[inline(always)]
    unsafe fn store_i16(self, p: *mut i16, a: Self::F32) {
        // SAFETY: the caller promises room for eight values.
        unsafe { p.cast::<[i16; LANES]>().write_unaligned(a.map(|x| x.round_ties_even() as i16).0) }
    }
    #[inline(always)]
    unsafe fn load_i8_pairs(self, p: *const i8) -> Self::U32 {
        // SAFETY: the caller promises sixteen readable values.
        let pairs = unsafe { p.cast::<[[i8; 2]; LANES]>().read_unaligned() };
        Lanes(pairs).map(|[low, high]| low as i16 as u16 as u32 | (high as i16 as u16 as u32) << 16)
    }
    #[inline(always)]
    fn dot_i16(self, a: Self::U32, b: Self::U32, c: Self::U32) -> Self::U32 {
        let halves = |unit: u32| (unit as i16 as i32, (unit >> 16) as i16 as i32);
        let products = a.zip(b, |a, b| {
            let ((a0, a1), (b0, b1)) = (halves(a), halves(b));
            (a0 * b0).wrapping_add(a1 * b1) as u32
        });
        c.zip(products, u32::wrapping_add)
    }
    #[inline(always)]
    fn integers_to_f32(self, a: Self::U32) -> Self::F32 {
        a.map(|a| a as i32 as f32)
    }
    #[inline(always)]
    fn zip_units(self, a: Self::U32, b: Self::U32) -> (Self::U32, Self::U32) {
        let (a, b) = (a.0, b.0);
        let lower = [a[0], b[0], a[1], b[1], a[2], b[2], a[3], b[3]];
        (Lanes(lower), Lanes([a[4], b[4], a[5], b[5], a[6], b[6], a[7], b[7]]))
    }
    #[inline(always)]
    fn prefetch<T>(self, _: *const T) {}
}
