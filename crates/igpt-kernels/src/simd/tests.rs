//! Tests of every instruction set against plain f32 and f64 arithmetic, lane by lane.

use super::Simd;
use crate::isa::{Isa, Kernel};
use crate::scalar::Scalar;
use half::bf16;

/// Runs a one-argument vector function over a slice whose length is a multiple of 16.
struct Map<'a, F>(&'a [f32], F);

#[derive(Clone, Copy)]
enum Op {
    Exp2,
    Exp2Bf16,
    ReciprocalBf16,
    RoundBf16,
}

impl Kernel for Map<'_, Op> {
    type Output = Vec<f32>;
    #[inline(always)]
    fn run<V: Simd>(self, simd: V) -> Vec<f32> {
        let mut out = vec![0.0; self.0.len()];
        for (x, out) in self.0.chunks_exact(V::LANES).zip(out.chunks_exact_mut(V::LANES)) {
            let x = simd.read(x);
            let y = match self.1 {
                Op::Exp2 => simd.exp2(x),
                Op::Exp2Bf16 => simd.exp2_bf16(x),
                Op::ReciprocalBf16 => simd.reciprocal_bf16(x),
                Op::RoundBf16 => simd.round_bf16(x),
            };
            simd.write(out, y);
        }
        out
    }
}

#[test]
fn exp2_is_accurate_and_exact_at_its_ends() {
    check_exp2(Op::Exp2, 4e-7);
    check_exp2(Op::Exp2Bf16, 1e-4);
}

fn check_exp2(op: Op, tolerance: f64) {
    let mut xs: Vec<f32> = (0..160_000).map(|i| -126.0 + i as f32 * (253.9 / 160_000.0)).collect();
    let special = [0.0, 1.0, -1.0, 10.0, -126.0, 127.0, f32::NEG_INFINITY, -1e30, -151.0, 128.0, 1e30, f32::INFINITY];
    xs.extend(special);
    xs.extend([f32::NAN; 4]);
    for isa in Isa::available() {
        let ys = isa.run(Map(&xs, op));
        for (&x, &y) in xs.iter().zip(&ys) {
            let exact = (x as f64).exp2();
            if x.is_nan() {
                assert!(y.is_nan(), "{} exp2(NaN) = {y}", isa.name());
            } else if x >= 128.0 {
                assert_eq!(y, f32::INFINITY, "{} exp2({x})", isa.name());
            } else if x < -150.0 {
                assert_eq!(y, 0.0, "{} exp2({x})", isa.name());
            } else {
                let error = (y as f64 / exact - 1.0).abs();
                assert!(error < tolerance, "{} exp2({x}) = {y}, relative error {error:e}", isa.name());
            }
        }
        for (x, y) in [(0.0, 1.0), (1.0, 2.0), (-1.0, 0.5), (10.0, 1024.0)] {
            let at = xs.iter().rposition(|&value| value == x).unwrap();
            assert_eq!(ys[at], y, "{} exp2({x})", isa.name());
        }
    }
}

#[test]
fn the_reciprocal_for_bf16_is_accurate_and_zero_at_infinity() {
    let mut xs: Vec<f32> = (0..16_000).map(|i| (i as f32 * 0.01).exp2()).take(12_000).collect();
    xs.extend([1.0; 14]);
    xs.extend([f32::INFINITY, f32::NAN]);
    for isa in Isa::available() {
        let ys = isa.run(Map(&xs, Op::ReciprocalBf16));
        for (&x, &y) in xs.iter().zip(&ys).filter(|(x, _)| x.is_finite()) {
            assert!((y as f64 * x as f64 - 1.0).abs() <= 2f64.powi(-14), "{} 1/{x} = {y}", isa.name());
        }
        assert_eq!(ys[xs.len() - 2], 0.0);
        assert!(ys[xs.len() - 1].is_nan());
    }
}

/// Values that round up, down, to even both ways, over into infinity, and NaNs with only low bits set.
fn hard_to_round() -> Vec<f32> {
    let mut bits: Vec<u32> =
        vec![0, 0x8000_0000, 0x7f80_0000, 0xff80_0000, 0x7f80_0001, 0xffc0_0000, 0x7f7f_ffff, 0x7f7f_8000];
    for i in 0..120_u32 {
        let exponent = (i * 2 + 1) << 23;
        bits.extend([0x0000, 0x7fff, 0x8000, 0x8001, 0xffff, 0x1_8000, 0x1_7fff, 0x1_8001].map(|low| exponent + low));
    }
    let mut state = 1_u32;
    for _ in 0..5000 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bits.push(state);
    }
    bits.retain(|&b| b & 0x7fff_ffff == 0 || b & 0x7f80_0000 != 0); // hardware takes subnormals for 0
    bits.truncate(bits.len() / 16 * 16);
    bits.into_iter().map(f32::from_bits).collect()
}

fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

#[test]
fn bf16_rounds_to_nearest_even_on_every_isa() {
    let xs = hard_to_round();
    for isa in Isa::available() {
        for (&x, y) in xs.iter().zip(isa.run(Map(&xs, Op::RoundBf16))) {
            let expected = <bf16 as Scalar>::from_f32(x).to_f32();
            assert!(same(y, expected), "{} round({x:e}) = {y:e}, not {expected:e}", isa.name());
        }
    }
}

/// Packs two f32 rows both ways: straight, and through stored bf16.
struct Pack<'a>(&'a [f32], &'a [f32]);

impl Kernel for Pack<'_> {
    type Output = (Vec<u32>, Vec<u32>);
    #[inline(always)]
    fn run<V: Simd>(self, simd: V) -> Self::Output {
        let (mut straight, mut stored) = (vec![0; self.0.len()], vec![0; self.0.len()]);
        for (i, (low, high)) in self.0.chunks_exact(V::LANES).zip(self.1.chunks_exact(V::LANES)).enumerate() {
            let (low, high) = (simd.read(low), simd.read(high));
            let (mut low_bf16, mut high_bf16) = ([bf16::default(); 16], [bf16::default(); 16]);
            simd.write(&mut low_bf16, low);
            simd.write(&mut high_bf16, high);
            // SAFETY: chunk i lies inside both outputs, and the arrays have sixteen values.
            unsafe {
                simd.store_units(straight.as_mut_ptr().add(i * V::LANES), simd.pack_bf16(low, high));
                let units = simd.interleave_bf16(low_bf16.as_ptr(), high_bf16.as_ptr());
                simd.store_units(stored.as_mut_ptr().add(i * V::LANES), units);
            }
        }
        (straight, stored)
    }
}

#[test]
fn packed_units_hold_the_first_row_in_the_low_half() {
    let low = hard_to_round();
    let low: Vec<f32> = low.into_iter().map(|x| if x.is_nan() { 1.5 } else { x }).collect();
    let mut high = low.clone();
    high.rotate_left(5);
    for isa in Isa::available() {
        let (straight, stored) = isa.run(Pack(&low, &high));
        assert_eq!(straight, stored, "{}", isa.name());
        for (i, unit) in straight.into_iter().enumerate() {
            let bits = |x| <bf16 as Scalar>::from_f32(x).to_bits() as u32;
            assert_eq!(unit, bits(low[i]) | bits(high[i]) << 16, "{} lane {i}", isa.name());
        }
    }
}

/// Applies the remaining operations to one vector each; the results follow each other, LANES at a time.
struct Basics;

impl Kernel for Basics {
    type Output = (Vec<f32>, [f32; 2]);
    #[inline(always)]
    fn run<V: Simd>(self, simd: V) -> Self::Output {
        let a = simd.iota();
        let b = simd.splat(3.0);
        let mut out = Vec::new();
        let units = simd.as_units(simd.splat(2.0));
        let results = [
            simd.add(a, b),
            simd.sub(a, b),
            simd.mul(a, b),
            simd.div(a, b),
            simd.mul_add(a, b, b),
            simd.max(a, b),
            simd.sqrt(a),
            simd.select(simd.less(a, b), a, simd.zero()),
            simd.dot::<f32>(units, units, a),
            simd.dot::<bf16>(simd.pack_bf16(a, b), simd.pack_bf16(b, a), b),
            simd.max(a, simd.splat(f32::NAN)),
        ];
        for result in results {
            let mut lanes = [0.0; 16];
            simd.write(&mut lanes, result);
            out.extend_from_slice(&lanes[..8]);
        }
        let mut partial = [0.0_f32; 3];
        simd.write_partial(&mut partial, simd.read_partial(&[1.0_f32, 2.0]));
        out.extend(partial);
        (out, [simd.reduce_add(a), simd.reduce_max(a)])
    }
}

#[test]
fn arithmetic_agrees_with_plain_f32() {
    for isa in Isa::available() {
        let (out, reduced) = isa.run(Basics);
        for i in 0..8 {
            let a = i as f32;
            let expected = [
                a + 3.0,
                a - 3.0,
                a * 3.0,
                a / 3.0,
                a * 3.0 + 3.0,
                a.max(3.0),
                a.sqrt(),
                if a < 3.0 { a } else { 0.0 },
                4.0 + a,
                6.0 * a + 3.0,
                f32::NAN,
            ];
            for (j, expected) in expected.into_iter().enumerate() {
                assert!(same(out[j * 8 + i], expected), "{} operation {j} lane {i}: {}", isa.name(), out[j * 8 + i]);
            }
        }
        assert_eq!(out[88..], [1.0, 2.0, 0.0], "{}", isa.name());
        let lanes = if isa.multiplies_bf16() { 16.0 } else { 8.0 };
        assert_eq!(reduced, [lanes * (lanes - 1.0) / 2.0, lanes - 1.0], "{}", isa.name());
    }
}

/// Rounds to 16 bits, then sums products of pairs of these and of 8-bit values.
struct Integers<'a>(&'a [f32], &'a [i8]);

impl Kernel for Integers<'_> {
    type Output = (Vec<i16>, f32, Vec<f32>);
    #[inline(always)]
    fn run<V: Simd>(self, simd: V) -> Self::Output {
        let (floats, bytes) = (self.0, self.1);
        let mut rounded = vec![0i16; floats.len()];
        simd.to_i16(floats, 3.0, &mut rounded);
        let unit = simd.splat_unit(rounded[0] as u16 as u32 | (rounded[1] as u16 as u32) << 16);
        let mut sums = vec![0.0; bytes.len() / 2];
        for (pairs, sums) in bytes.chunks_exact(2 * V::LANES).zip(sums.chunks_exact_mut(V::LANES)) {
            // SAFETY: the chunk has two vectors of values.
            let pairs = unsafe { simd.load_i8_pairs(pairs.as_ptr()) };
            let once = simd.dot_i16(unit, pairs, simd.splat_unit(0));
            simd.write(sums, simd.integers_to_f32(simd.dot_i16(unit, pairs, once)));
        }
        (rounded, simd.largest_magnitude(floats), sums)
    }
}

#[test]
fn integers_are_rounded_saturated_multiplied_and_added() {
    let floats: Vec<f32> = (0..32).map(|i| [700.1, -0.5, 0.5, 1e9, -1e9, -33.4][i % 6] / 3.0).collect();
    let bytes: Vec<i8> = (0..64).map(|i| (i * 37 % 255 - 127) as i8).collect();
    for isa in Isa::available() {
        let (rounded, largest, sums) = isa.run(Integers(&floats, &bytes));
        assert_eq!(rounded[..6], [700, 0, 0, 32767, -32768, -33], "{}", isa.name());
        assert_eq!(largest, 1e9 / 3.0, "{}", isa.name());
        for (pair, sum) in bytes.chunks_exact(2).zip(sums) {
            let expected = 2 * (700 * pair[0] as i32 + rounded[1] as i32 * pair[1] as i32);
            assert_eq!(sum, expected as f32, "{}", isa.name());
        }
    }
}
