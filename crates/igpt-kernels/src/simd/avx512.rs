//! Vectors of sixteen lanes with AVX-512, and bf16 products in hardware (`vdpbf16ps`).

use super::{EXP2, EXP2_BF16, Simd};
use core::arch::x86_64::*;
use core::mem::transmute;
use half::bf16;

/// AVX-512 with vectors of sixteen lanes; a value is the proof that this processor has it.
///
/// It includes AVX-512 F, BW, VL, DQ, VNNI and BF16, and AVX2 and FMA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx512(());

impl Avx512 {
    pub(crate) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512bf16")
            && is_x86_feature_detected!("avx512vnni"))
        .then_some(Self(()))
    }

    /// Widens sixteen bf16 to f32.
    #[inline(always)]
    fn widen(self, bits: __m256i) -> __m512 {
        // SAFETY: `self` proves AVX-512 F.
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(bits))) }
    }

    /// Rounds to sixteen bf16.
    #[inline(always)]
    fn narrow(self, a: __m512) -> __m256i {
        // SAFETY: `self` proves AVX-512 BF16; both types are 256 plain bits.
        unsafe { transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(a)) }
    }
}

/// Implements safe methods whose bodies are intrinsics.
macro_rules! methods {
    ($(fn $name:ident($self:ident $(, $arg:ident: $type:ty)*) -> $out:ty $body:block)*) => {$(
        #[inline(always)]
        fn $name($self $(, $arg: $type)*) -> $out {
            // SAFETY: an Avx512 exists only where the processor has all that `detect` asks for. The transmutes
            // are between vector types of 512 plain bits.
            unsafe { $body }
        }
    )*};
}

impl Simd for Avx512 {
    type F32 = __m512;
    type U32 = __m512i;
    type Mask = __mmask16;
    const LANES: usize = 16;
    const TILE_ROWS: [usize; 2] = [8, 8];

    methods! {
        fn splat(self, x: f32) -> __m512 { _mm512_set1_ps(x) }
        fn iota(self) -> __m512 {
            _mm512_setr_ps(0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0)
        }
        fn add(self, a: __m512, b: __m512) -> __m512 { _mm512_add_ps(a, b) }
        fn sub(self, a: __m512, b: __m512) -> __m512 { _mm512_sub_ps(a, b) }
        fn mul(self, a: __m512, b: __m512) -> __m512 { _mm512_mul_ps(a, b) }
        fn div(self, a: __m512, b: __m512) -> __m512 { _mm512_div_ps(a, b) }
        fn reciprocal_bf16(self, a: __m512) -> __m512 { _mm512_rcp14_ps(a) }
        fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 { _mm512_fmadd_ps(a, b, c) }
        fn max(self, a: __m512, b: __m512) -> __m512 { _mm512_max_ps(a, b) }
        fn sqrt(self, a: __m512) -> __m512 { _mm512_sqrt_ps(a) }
        fn less(self, a: __m512, b: __m512) -> __mmask16 { _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b) }
        fn select(self, mask: __mmask16, yes: __m512, no: __m512) -> __m512 { _mm512_mask_blend_ps(mask, no, yes) }
        fn exp2(self, x: __m512) -> __m512 {
            // vreduceps with immediate 1 is x − floor(x), and 0 for infinities; vscalefps multiplies by
            // 2^floor(x), −infinity included.
            let t = _mm512_reduce_ps::<1>(x);
            let mut power = _mm512_set1_ps(EXP2[4]);
            power = _mm512_fmadd_ps(power, t, _mm512_set1_ps(EXP2[3]));
            power = _mm512_fmadd_ps(power, t, _mm512_set1_ps(EXP2[2]));
            power = _mm512_fmadd_ps(power, t, _mm512_set1_ps(EXP2[1]));
            power = _mm512_fmadd_ps(power, t, _mm512_set1_ps(EXP2[0]));
            power = _mm512_fmadd_ps(power, t, _mm512_set1_ps(1.0));
            _mm512_scalef_ps(power, x)
        }
        fn exp2_bf16(self, x: __m512) -> __m512 {
            let t = _mm512_reduce_ps::<1>(x);
            let mut power = _mm512_set1_ps(EXP2_BF16[2]);
            power = _mm512_fmadd_ps(power, t, _mm512_set1_ps(EXP2_BF16[1]));
            power = _mm512_fmadd_ps(power, t, _mm512_set1_ps(EXP2_BF16[0]));
            power = _mm512_fmadd_ps(power, t, _mm512_set1_ps(1.0));
            _mm512_scalef_ps(power, x)
        }
        fn reduce_add(self, a: __m512) -> f32 {
            let eight = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a));
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
        fn reduce_max(self, a: __m512) -> f32 {
            let eight = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a));
            let four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
        }
        fn splat_unit(self, x: u32) -> __m512i { _mm512_set1_epi32(x as i32) }
        fn as_floats(self, a: __m512i) -> __m512 { _mm512_castsi512_ps(a) }
        fn as_units(self, a: __m512) -> __m512i { _mm512_castps_si512(a) }
        fn dot_bf16(self, a: __m512i, b: __m512i, c: __m512) -> __m512 {
            _mm512_dpbf16_ps(c, transmute::<__m512i, __m512bh>(a), transmute::<__m512i, __m512bh>(b))
        }
        fn pack_bf16(self, low: __m512, high: __m512) -> __m512i {
            let both = transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low));
            // Takes 16-bit values i and 16 + i alternately.
            let order = _mm512_set_epi32(
                0x001f_000f, 0x001e_000e, 0x001d_000d, 0x001c_000c, 0x001b_000b, 0x001a_000a, 0x0019_0009, 0x0018_0008,
                0x0017_0007, 0x0016_0006, 0x0015_0005, 0x0014_0004, 0x0013_0003, 0x0012_0002, 0x0011_0001, 0x0010_0000,
            );
            _mm512_permutexvar_epi16(order, both)
        }
        fn dot_i16(self, a: __m512i, b: __m512i, c: __m512i) -> __m512i {
            _mm512_dpwssd_epi32(c, a, b)
        }
        fn integers_to_f32(self, a: __m512i) -> __m512 { _mm512_cvtepi32_ps(a) }
        fn zip_units(self, a: __m512i, b: __m512i) -> (__m512i, __m512i) {
            let lower = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            let upper = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
            (_mm512_permutex2var_epi32(a, lower, b), _mm512_permutex2var_epi32(a, upper, b))
        }
    }

    #[inline(always)]
    fn round_bf16(self, a: __m512) -> __m512 {
        self.widen(self.narrow(a))
    }
    #[inline(always)]
    unsafe fn load_f32(self, p: *const f32) -> __m512 {
        // SAFETY: `self` proves AVX-512 F; the caller promises sixteen readable values.
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store_f32(self, p: *mut f32, a: __m512) {
        // SAFETY: `self` proves AVX-512 F; the caller promises room for sixteen values.
        unsafe { _mm512_storeu_ps(p, a) }
    }
    #[inline(always)]
    unsafe fn load_bf16(self, p: *const bf16) -> __m512 {
        // SAFETY: `self` proves AVX-512 F; the caller promises sixteen readable values.
        unsafe { self.widen(_mm256_loadu_si256(p.cast())) }
    }
    #[inline(always)]
    unsafe fn store_bf16(self, p: *mut bf16, a: __m512) {
        // SAFETY: `self` proves AVX-512 F; the caller promises room for sixteen values.
        unsafe { _mm256_storeu_si256(p.cast(), self.narrow(a)) }
    }
    #[inline(always)]
    unsafe fn load_units(self, p: *const u32) -> __m512i {
        // SAFETY: `self` proves AVX-512 F; the caller promises sixteen readable units.
        unsafe { _mm512_loadu_si512(p.cast()) }
    }
    #[inline(always)]
    unsafe fn store_units(self, p: *mut u32, a: __m512i) {
        // SAFETY: `self` proves AVX-512 F; the caller promises room for sixteen units.
        unsafe { _mm512_storeu_si512(p.cast(), a) }
    }
    #[inline(always)]
    unsafe fn store_i16(self, p: *mut i16, a: __m512) {
        // SAFETY: `self` proves AVX-512 F; the caller promises room for sixteen values.
        unsafe { _mm256_storeu_si256(p.cast(), _mm512_cvtsepi32_epi16(_mm512_cvtps_epi32(a))) }
    }
    #[inline(always)]
    unsafe fn load_i8_pairs(self, p: *const i8) -> __m512i {
        // SAFETY: `self` proves AVX-512 BW; the caller promises 32 readable values.
        unsafe { _mm512_cvtepi8_epi16(_mm256_loadu_si256(p.cast())) }
    }
    #[inline(always)]
    unsafe fn interleave_bf16(self, low: *const bf16, high: *const bf16) -> __m512i {
        // SAFETY: `self` proves AVX-512 F; the caller promises sixteen readable values at both pointers.
        unsafe {
            let low = _mm512_cvtepu16_epi32(_mm256_loadu_si256(low.cast()));
            let high = _mm512_cvtepu16_epi32(_mm256_loadu_si256(high.cast()));
            _mm512_or_si512(low, _mm512_slli_epi32::<16>(high))
        }
    }
    #[inline(always)]
    fn prefetch<T>(self, p: *const T) {
        // SAFETY: prefetching has no effect but on caches, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
}
