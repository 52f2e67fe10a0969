//! Vectors of eight lanes with AVX2 and FMA. A bf16 product is two f32 products of the widened halves.

use super::{EXP2, Simd};
use core::arch::x86_64::*;
use half::bf16;

/// AVX2 and FMA with vectors of eight lanes; a value is the proof that this processor has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx2(());

impl Avx2 {
    pub(crate) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }

    /// Rounds lanes to bf16, each in the low half of its 32 bits.
    #[inline(always)]
    fn bf16_bits(self, a: __m256) -> __m256i {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let bits = _mm256_castps_si256(a);
            let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
            let rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
            let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x0040_0000));
            let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(a, a));
            _mm256_srli_epi32::<16>(_mm256_blendv_epi8(rounded, quiet, nan))
        }
    }

    #[inline(always)]
    fn low(self, units: __m256i) -> __m256 {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(units)) }
    }

    #[inline(always)]
    fn high(self, units: __m256i) -> __m256 {
        // SAFETY: `self` proves AVX2.
        unsafe { _mm256_castsi256_ps(_mm256_and_si256(units, _mm256_set1_epi32(0xffff_0000_u32 as i32))) }
    }
}

/// Implements safe methods whose bodies are intrinsics.
macro_rules! methods {
    ($($(#[$doc:meta])* fn $name:ident($self:ident $(, $arg:ident: $type:ty)*) -> $out:ty $body:block)*) => {$(
        $(#[$doc])*
        #[inline(always)]
        fn $name($self $(, $arg: $type)*) -> $out {
            // SAFETY: an Avx2 exists only where the processor has AVX2 and FMA.
            unsafe { $body }
        }
    )*};
}

impl Simd for Avx2 {
    type F32 = __m256;
    type U32 = __m256i;
    type Mask = __m256;
    const LANES: usize = 8;
    // Sixteen registers: bf16 needs two more for the halves of the left unit and four for those of the right.
    const TILE_ROWS: [usize; 2] = [6, 4];

    methods! {
        fn splat(self, x: f32) -> __m256 { _mm256_set1_ps(x) }
        fn iota(self) -> __m256 { _mm256_setr_ps(0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0) }
        fn add(self, a: __m256, b: __m256) -> __m256 { _mm256_add_ps(a, b) }
        fn sub(self, a: __m256, b: __m256) -> __m256 { _mm256_sub_ps(a, b) }
        fn mul(self, a: __m256, b: __m256) -> __m256 { _mm256_mul_ps(a, b) }
        fn div(self, a: __m256, b: __m256) -> __m256 { _mm256_div_ps(a, b) }
        fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 { _mm256_fmadd_ps(a, b, c) }
        fn max(self, a: __m256, b: __m256) -> __m256 { _mm256_max_ps(a, b) }
        fn sqrt(self, a: __m256) -> __m256 { _mm256_sqrt_ps(a) }
        fn less(self, a: __m256, b: __m256) -> __m256 { _mm256_cmp_ps::<_CMP_LT_OQ>(a, b) }
        fn select(self, mask: __m256, yes: __m256, no: __m256) -> __m256 { _mm256_blendv_ps(no, yes, mask) }
        fn exp2(self, x: __m256) -> __m256 {
            // −127 becomes a factor of 0 and 128 one of infinity below; NaN passes as the second operand.
            let x = _mm256_max_ps(_mm256_set1_ps(-127.0), x);
            let x = _mm256_min_ps(_mm256_set1_ps(128.0), x);
            let floor = _mm256_floor_ps(x);
            let t = _mm256_sub_ps(x, floor);
            let mut power = _mm256_set1_ps(EXP2[4]);
            power = _mm256_fmadd_ps(power, t, _mm256_set1_ps(EXP2[3]));
            power = _mm256_fmadd_ps(power, t, _mm256_set1_ps(EXP2[2]));
            power = _mm256_fmadd_ps(power, t, _mm256_set1_ps(EXP2[1]));
            power = _mm256_fmadd_ps(power, t, _mm256_set1_ps(EXP2[0]));
            power = _mm256_fmadd_ps(power, t, _mm256_set1_ps(1.0));
            let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(floor), _mm256_set1_epi32(127));
            _mm256_mul_ps(power, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent)))
        }
        fn reduce_add(self, a: __m256) -> f32 {
            let four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
        fn reduce_max(self, a: __m256) -> f32 {
            let four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
        }
        fn splat_unit(self, x: u32) -> __m256i { _mm256_set1_epi32(x as i32) }
        fn as_floats(self, a: __m256i) -> __m256 { _mm256_castsi256_ps(a) }
        fn as_units(self, a: __m256) -> __m256i { _mm256_castps_si256(a) }
        fn round_bf16(self, a: __m256) -> __m256 {
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(self.bf16_bits(a)))
        }
        fn dot_bf16(self, a: __m256i, b: __m256i, c: __m256) -> __m256 {
            let c = _mm256_fmadd_ps(self.low(a), self.low(b), c);
            _mm256_fmadd_ps(self.high(a), self.high(b), c)
        }
        fn pack_bf16(self, low: __m256, high: __m256) -> __m256i {
            _mm256_or_si256(self.bf16_bits(low), _mm256_slli_epi32::<16>(self.bf16_bits(high)))
        }
        fn dot_i16(self, a: __m256i, b: __m256i, c: __m256i) -> __m256i {
            _mm256_add_epi32(c, _mm256_madd_epi16(a, b))
        }
        fn integers_to_f32(self, a: __m256i) -> __m256 { _mm256_cvtepi32_ps(a) }
        fn zip_units(self, a: __m256i, b: __m256i) -> (__m256i, __m256i) {
            // Unpacking works inside 128-bit halves; the second step puts these in order.
            let (low, high) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
            (_mm256_permute2x128_si256::<0x20>(low, high), _mm256_permute2x128_si256::<0x31>(low, high))
        }
    }

    #[inline(always)]
    unsafe fn load_f32(self, p: *const f32) -> __m256 {
        // SAFETY: `self` proves AVX; the caller promises eight readable values.
        unsafe { _mm256_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store_f32(self, p: *mut f32, a: __m256) {
        // SAFETY: `self` proves AVX; the caller promises room for eight values.
        unsafe { _mm256_storeu_ps(p, a) }
    }
    #[inline(always)]
    unsafe fn load_bf16(self, p: *const bf16) -> __m256 {
        // SAFETY: `self` proves AVX2; the caller promises eight readable values.
        unsafe { self.low(_mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast()))) }
    }
    #[inline(always)]
    unsafe fn store_bf16(self, p: *mut bf16, a: __m256) {
        // SAFETY: `self` proves AVX2; the caller promises room for eight values.
        unsafe {
            let bits = self.bf16_bits(a);
            let packed = _mm_packus_epi32(_mm256_castsi256_si128(bits), _mm256_extracti128_si256::<1>(bits));
            _mm_storeu_si128(p.cast(), packed);
        }
    }
    #[inline(always)]
    unsafe fn load_units(self, p: *const u32) -> __m256i {
        // SAFETY: `self` proves AVX; the caller promises eight readable units.
        unsafe { _mm256_loadu_si256(p.cast()) }
    }
    #[inline(always)]
    unsafe fn store_units(self, p: *mut u32, a: __m256i) {
        // SAFETY: `self` proves AVX; the caller promises room for eight units.
        unsafe { _mm256_storeu_si256(p.cast(), a) }
    }
    #[inline(always)]
    unsafe fn store_i16(self, p: *mut i16, a: __m256) {
        // SAFETY: `self` proves AVX2; the caller promises room for eight values.
        unsafe {
            let integers = _mm256_cvtps_epi32(a);
            let (lower, upper) = (_mm256_castsi256_si128(integers), _mm256_extracti128_si256::<1>(integers));
            _mm_storeu_si128(p.cast(), _mm_packs_epi32(lower, upper));
        }
    }
    #[inline(always)]
    unsafe fn load_i8_pairs(self, p: *const i8) -> __m256i {
        // SAFETY: `self` proves AVX2; the caller promises 16 readable values.
        unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(p.cast())) }
    }
    #[inline(always)]
    unsafe fn interleave_bf16(self, low: *const bf16, high: *const bf16) -> __m256i {
        // SAFETY: `self` proves AVX2; the caller promises eight readable values at both pointers.
        unsafe {
            let low = _mm256_cvtepu16_epi32(_mm_loadu_si128(low.cast()));
            let high = _mm256_cvtepu16_epi32(_mm_loadu_si128(high.cast()));
            _mm256_or_si256(low, _mm256_slli_epi32::<16>(high))
        }
    }
    #[inline(always)]
    fn prefetch<T>(self, p: *const T) {
        // SAFETY: prefetching has no effect but on caches, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
}
