use super::*;
use crate::isa::Isa;
use crate::reference::attention as reference;
use crate::testing::{EPS, Framed, storage_error, values};
use crate::{Scalar, bf16};

const LENGTHS: [usize; 13] = [1, 2, 15, 16, 17, 63, 64, 65, 127, 128, 129, 200, 256];
const HEAD_SIZES: [usize; 6] = [16, 32, 48, 64, 96, 112];

/// Inputs and outputs of one head, each matrix between canaries.
struct Head<S> {
    mask: Mask,
    n_ctx: usize,
    width: usize,
    scale: f32,
    /// q, k, v, dout
    inputs: [Framed<S>; 4],
    lse: Vec<f32>,
    out: Framed<S>,
    /// dq, dk, dv
    gradients: [Framed<S>; 3],
}

impl<S: Scalar> Head<S> {
    fn new(n_ctx: usize, width: usize) -> Self {
        let inputs = [1, 2, 3, 4].map(|seed| {
            let x: Vec<f64> = values(n_ctx * width, seed * 1000 + n_ctx as u64).iter().map(|x| 2.0 * x).collect();
            Framed::new(&x, n_ctx, width, width)
        });
        let unset = || Framed::unset(n_ctx, width);
        let scale = 1.0 / (width as f32).sqrt();
        let lse = vec![f32::NAN; n_ctx];
        let (mask, gradients) = (Mask::Causal, [unset(), unset(), unset()]);
        Self { mask, n_ctx, width, scale, inputs, lse, out: unset(), gradients }
    }

    fn masked(mask: Mask, n_ctx: usize, width: usize) -> Self {
        Self { mask, ..Self::new(n_ctx, width) }
    }

    fn run(&mut self, isa: Isa, scratch: &mut AttentionScratch) {
        let [q, k, v, dout] = &self.inputs;
        let (q, k, v, dout) = (q.view(), k.view(), v.view(), dout.view());
        attention_forward(isa, self.mask, self.scale, q, k, v, self.out.view_mut(), &mut self.lse, scratch);
        let [dq, dk, dv] = &mut self.gradients;
        let (dq, dk, dv) = (dq.view_mut(), dk.view_mut(), dv.view_mut());
        attention_backward(isa, self.mask, self.scale, q, k, v, self.out.view(), dout, &self.lse, dq, dk, dv, scratch);
    }

    /// out, dq, dk, dv
    fn results(&self) -> [Vec<f64>; 4] {
        let [dq, dk, dv] = &self.gradients;
        [&self.out, dq, dk, dv].map(|x| x.f64s(self.width))
    }
}

/// Reference values of out, dq, dk and dv, each with the sum of the magnitudes that it was added up from.
///
/// Rounding errors are proportional to that sum.
fn exact<S: Scalar>(head: &Head<S>) -> ([Vec<f64>; 4], [Vec<f64>; 4], Vec<f64>) {
    let (width, scale) = (head.width, head.scale as f64);
    let [q, k, v, dout] = head.inputs.each_ref().map(|x| x.f64s(width));
    let (out, lse) = reference::forward(head.mask, scale, width, &q, &k, &v);
    let (dq, dk, dv) = reference::backward(head.mask, scale, width, &q, &k, &v, &dout);
    let mut sizes = [(); 4].map(|_| vec![0.0; q.len()]);
    let row = |x: &[f64], i: usize| x[i * width..][..width].to_vec();
    let dot_sizes = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a * b).abs()).sum::<f64>();
    for i in 0..head.n_ctx {
        let (qi, douti) = (row(&q, i), row(&dout, i));
        let delta = dot_sizes(&row(&out, i), &douti);
        let seen = if head.mask == Mask::Causal { i + 1 } else { head.n_ctx };
        for j in 0..seen {
            let (kj, vj) = (row(&k, j), row(&v, j));
            let score: f64 = qi.iter().zip(&kj).map(|(q, k)| q * k).sum();
            let p = (scale * score - lse[i] * std::f64::consts::LN_2).exp();
            let ds = scale * p * (dot_sizes(&vj, &douti) + delta);
            for d in 0..width {
                sizes[0][i * width + d] += p * vj[d].abs();
                sizes[1][i * width + d] += ds * kj[d].abs();
                sizes[2][j * width + d] += ds * qi[d].abs();
                sizes[3][j * width + d] += p * douti[d].abs();
            }
        }
    }
    ([out, dq, dk, dv], sizes, lse)
}

/// Relative L2 distance of `x` from `exact`.
fn distance(x: &[f64], exact: &[f64]) -> f64 {
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    norm(&mut x.iter().zip(exact).map(|(x, exact)| x - exact)) / norm(&mut exact.iter().copied())
}

fn matches_reference<S: Scalar>(mask: Mask) {
    for n_ctx in LENGTHS {
        for width in HEAD_SIZES {
            let mut head = Head::<S>::masked(mask, n_ctx, width);
            let mut scratch = AttentionScratch::new::<S>(n_ctx, width);
            let (exact, sizes, lse) = exact(&head);
            for isa in Isa::available() {
                head.run(isa, &mut scratch);
                let case = format!("of {} {} {mask:?} n_ctx {n_ctx} head size {width}", isa.name(), S::NAME);
                // The logarithm of a sum of exponentials has their relative error, for which bf16 allows 1e-4.
                let exponentials = if S::PACK == 2 { 1e-4 * std::f64::consts::LOG2_E } else { 0.0 };
                for (lse, exact) in head.lse.iter().zip(&lse) {
                    let error = (f64::from(*lse) - exact).abs();
                    assert!(error < exponentials + 4e-6 * (1.0 + exact.abs()), "lse {lse} for {exact} {case}");
                }
                // In f32 a sum's worst case and what the exponential adds. In bf16 one rounding (2⁻⁸) each of the
                // probabilities, of `out` inside delta, of the scores' gradients and of the result.
                let f32_share = EPS * (n_ctx + 2 * width + 64) as f64;
                let share = f32_share + 4.0 * storage_error::<S>();
                for ((name, found), (exact, sizes)) in
                    ["out", "dq", "dk", "dv"].iter().zip(head.results()).zip(exact.iter().zip(&sizes))
                {
                    for i in 0..found.len() {
                        let error = (found[i] - exact[i]).abs();
                        assert!(
                            error <= share * sizes[i] + 1e-30,
                            "{name} {case}: [{i}] {} for {}",
                            found[i],
                            exact[i]
                        );
                    }
                    // Among a handful of keys gradients cancel to nearly nothing and have no relative accuracy.
                    let bound = if S::PACK == 2 { 5e-3 } else { 1e-5 };
                    let distance = distance(&found, exact);
                    assert!(n_ctx < 15 || distance < bound, "{name} {case}: relative L2 error {distance:e}");
                }
                head.out.assert_intact(width);
                head.gradients.iter().for_each(|x| x.assert_intact(width));
            }
        }
    }
}

#[test]
fn f32_forward_and_backward_match_the_reference() {
    matches_reference::<f32>(Mask::Causal);
}

#[test]
fn f32_without_a_mask_matches_the_reference() {
    matches_reference::<f32>(Mask::None);
}

#[test]
fn bf16_forward_and_backward_match_the_reference() {
    matches_reference::<bf16>(Mask::Causal);
}

#[test]
fn bf16_without_a_mask_matches_the_reference() {
    matches_reference::<bf16>(Mask::None);
}

#[test]
fn scratch_left_by_another_head_changes_no_bit() {
    for (isa, mask) in Isa::available().into_iter().flat_map(|isa| [(isa, Mask::Causal), (isa, Mask::None)]) {
        // Heads of 64 are whole tiles, those of 48 are not.
        for width in [48, 64] {
            let mut clean = Head::<bf16>::masked(mask, 99, width);
            clean.run(isa, &mut AttentionScratch::new::<bf16>(99, width));
            let mut scratch = AttentionScratch::new::<f32>(256, 64);
            scratch.fill(f32::NAN.to_bits());
            let mut dirty = Head::<bf16>::masked(mask, 99, width);
            dirty.run(isa, &mut scratch);
            assert_eq!(clean.results(), dirty.results(), "{} {mask:?} head size {width}", isa.name());
            assert_eq!(clean.lse, dirty.lse);
        }
    }
}

/// Keys after the last are zeros: beside scores far below zero they would have all of the probability.
fn sees_nothing_behind_the_last_position<S: Scalar>(width: usize, tolerance: f64) {
    for isa in Isa::available() {
        for n_ctx in [1, 5, 65, 129] {
            let mut head = Head::<S>::masked(Mask::None, n_ctx, width);
            for (x, value) in head.inputs[..3].iter_mut().zip([30.0, -30.0, 2.0]) {
                (0..n_ctx).for_each(|t| x.view_mut().row_mut(t).fill(S::from_f32(value)));
            }
            head.run(isa, &mut AttentionScratch::new::<S>(n_ctx, width));
            let [out, dq, dk, dv] = head.results();
            assert!(out.iter().all(|x| (x - 2.0).abs() < tolerance), "{} n_ctx {n_ctx}: {out:?}", isa.name());
            assert!(dq.iter().chain(&dk).chain(&dv).all(|x| x.is_finite()), "{} n_ctx {n_ctx}", isa.name());
        }
    }
}

#[test]
fn without_a_mask_nothing_is_seen_behind_the_last_position() {
    sees_nothing_behind_the_last_position::<f32>(16, 1e-5);
    // Heads of whole tiles.
    sees_nothing_behind_the_last_position::<bf16>(32, 2e-2);
}

#[test]
fn no_output_depends_on_a_later_position() {
    for isa in Isa::available() {
        for t in [1, 2, 63, 64, 65, 90, 99] {
            let (n_ctx, width) = (100, 32);
            let mut scratch = AttentionScratch::new::<bf16>(n_ctx, width);
            let mut before = Head::<bf16>::new(n_ctx, width);
            before.run(isa, &mut scratch);
            let mut after = Head::<bf16>::new(n_ctx, width);
            for x in &mut after.inputs[..3] {
                x.view_mut().row_mut(t).fill(bf16::from_f32(40.0));
            }
            after.run(isa, &mut scratch);
            let (was, is) = (before.out.f64s(width), after.out.f64s(width));
            assert_eq!(was[..t * width], is[..t * width], "{} t {t}", isa.name());
            assert_ne!(was[t * width..], is[t * width..]);
            assert_eq!(before.lse[..t], after.lse[..t]);
        }
    }
}

/// A KV cache of as many pieces as a sequence needs.
struct Sequence {
    shape: KvShape,
    int8: bool,
    pieces: Vec<(Vec<u32>, Vec<i8>, Vec<f32>)>,
}

impl Sequence {
    /// The content that an earlier sequence left in the memory must not matter.
    fn new<S: Scalar>(shape: KvShape, n_ctx: usize, int8: bool) -> Self {
        let (values, scales) = shape.int8_lens();
        let piece = (vec![f32::NAN.to_bits(); shape.units::<S>()], vec![-128; values], vec![f32::NAN; scales]);
        Self { shape, int8, pieces: vec![piece; n_ctx.div_ceil(PIECE)] }
    }

    /// Appends the keys and values of position `t`, and returns the attention of the query there.
    fn step<S: Scalar>(&mut self, isa: Isa, scale: f32, t: usize, [q, k, v]: [&[S]; 3]) -> Vec<S> {
        let Self { shape, int8, pieces } = self;
        let (units, values, scales) = &mut pieces[t / PIECE];
        if *int8 {
            shape.append_int8(isa, (values, scales), t % PIECE, k, v);
        } else {
            shape.append(units, t % PIECE, k, v);
        }
        let (mut out, mut scratch) = (vec![S::default(); q.len()], shape.scratch());
        let mut partials = vec![vec![f32::NAN; shape.partial_len()]; t / PIECE + 1];
        for (i, ((units, values, scales), partial)) in pieces.iter().zip(&mut partials).enumerate() {
            let len = PIECE.min(t + 1 - i * PIECE);
            if *int8 {
                shape.attend_int8(isa, scale, (values, scales, len), q, partial, &mut scratch);
            } else {
                shape.attend(isa, scale, (units, len), q, partial, &mut scratch);
            }
        }
        shape.merge(isa, partials.iter().map(Vec::as_slice), &mut out);
        out
    }
}

const DECODED: usize = PIECE + 70;

/// Decodes two heads side by side, and passes each to a check with the forward pass on the same instruction set.
fn decode_two<S: Scalar>(isa: Isa, width: usize, int8: bool, check: impl Fn(&Head<S>, Vec<f64>)) {
    let mut heads = [0, 1].map(|i| Head::<S>::new(DECODED + i, width));
    let mut sequence = Sequence::new::<S>(KvShape::new(2, width), DECODED, int8);
    let mut decoded = [Vec::new(), Vec::new()];
    for t in 0..DECODED {
        let rows = [0, 1, 2].map(|i| heads.each_ref().map(|head| head.inputs[i].view().row(t)).concat());
        let out = sequence.step(isa, heads[0].scale, t, rows.each_ref().map(Vec::as_slice));
        for (decoded, out) in decoded.iter_mut().zip(out.chunks_exact(width)) {
            decoded.extend(out.iter().map(|x| f64::from(x.to_f32())));
        }
    }
    for (head, decoded) in heads.iter_mut().zip(decoded) {
        head.run(isa, &mut AttentionScratch::new::<S>(head.n_ctx, width));
        check(head, decoded);
    }
}

fn decoding_matches_forward<S: Scalar>() {
    for isa in Isa::available() {
        for width in HEAD_SIZES {
            decode_two::<S>(isa, width, false, |head, decoded| {
                let ([exact, ..], [sizes, ..], _) = exact(head);
                // Probabilities and the result are rounded once each; forward did the same.
                let share = EPS * (DECODED + 2 * width + 64) as f64 + 2.0 * storage_error::<S>();
                let case = format!("{} {} head size {width}", isa.name(), S::NAME);
                for i in 0..decoded.len() {
                    let error = (decoded[i] - exact[i]).abs();
                    assert!(error <= share * sizes[i], "{case}: [{i}] {} for {}", decoded[i], exact[i]);
                }
                let distance = distance(&decoded, &head.out.f64s(width)[..decoded.len()]);
                assert!(distance < if S::PACK == 2 { 3e-3 } else { 1e-6 }, "{case}: {distance:e} from forward");
            });
        }
    }
}

#[test]
fn f32_decoding_matches_forward() {
    decoding_matches_forward::<f32>();
}

#[test]
fn bf16_decoding_matches_forward() {
    decoding_matches_forward::<bf16>();
}

#[test]
fn decoding_with_8_bit_keys_and_values_is_close_to_forward() {
    for isa in Isa::available() {
        for width in HEAD_SIZES {
            decode_two::<bf16>(isa, width, true, |head, decoded| {
                let distance = distance(&decoded, &head.out.f64s(width)[..decoded.len()]);
                assert!(distance < 1.5e-2, "{} head size {width}: {distance:e} from forward", isa.name());
            });
        }
    }
}

#[test]
fn a_second_sequence_in_the_same_cache_sees_nothing_of_the_first() {
    for isa in Isa::available() {
        for int8 in [false, true] {
            let shape = KvShape::new(1, 16);
            let [mut fresh, mut used] = [(); 2].map(|()| Sequence::new::<bf16>(shape, 70, int8));
            for t in 0..70 {
                used.step(isa, 0.25, t, [&[bf16::ONE; 16], &[bf16::INFINITY; 16], &[bf16::NAN; 16]]);
            }
            let head = Head::<bf16>::new(70, 16);
            for t in 0..70 {
                let rows = [0, 1, 2].map(|i| head.inputs[i].view().row(t));
                assert_eq!(fresh.step(isa, 0.25, t, rows), used.step(isa, 0.25, t, rows));
            }
        }
    }
}

#[test]
#[should_panic(expected = "scratch")]
fn scratch_for_a_smaller_head_is_refused() {
    Head::<f32>::new(65, 16).run(Isa::Portable, &mut AttentionScratch::new::<f32>(64, 16));
}
