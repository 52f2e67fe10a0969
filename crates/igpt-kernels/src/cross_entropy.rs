//! Cross-entropy loss of the softmax over the palette, with its gradient.
//!
//! A row of logits is read while it is in cache: for its largest value, for the sum of exponentials and, if requested,
//! for the gradient. The gradient's exponentials are recomputed instead of stored.

use std::f32::consts::LOG2_E;

use crate::isa::{Isa, Kernel};
use crate::simd::Simd;
use crate::{MatMut, MatRef, Scalar};

/// Cross-entropy in nats of each row: `losses[r]` = −ln softmax(logits row r)[`targets[r]`].
///
/// The softmax is over the first `n_vocab` columns. With `d = Some((scale, dlogits))`, `dlogits` receives the gradient
/// scale · (softmax − one-hot target), zero in the padding.
///
/// `logits` and `dlogits` are rows × cols, with cols a multiple of 16 and at least `n_vocab`. The content of the
/// padding of `logits` does not matter. A row's bits depend on that row alone. A NaN or infinity among the logits makes
/// the loss NaN. Panics on other shapes and on a target that is not below `n_vocab`.
pub fn cross_entropy<S: Scalar>(
    isa: Isa,
    logits: MatRef<'_, f32>,
    n_vocab: usize,
    targets: &[u16],
    losses: &mut [f32],
    d: Option<(f32, MatMut<'_, S>)>,
) {
    let shape = (logits.rows(), logits.cols());
    assert!(logits.cols().is_multiple_of(PAD), "{} columns are not padded to {PAD}", logits.cols());
    assert!(0 < n_vocab && n_vocab <= logits.cols(), "{n_vocab} colours in {} columns", logits.cols());
    assert_eq!((targets.len(), losses.len()), (logits.rows(), logits.rows()), "one target and loss a row");
    if let Some((_, d)) = &d {
        assert_eq!((d.rows(), d.cols()), shape, "dlogits has the shape of the logits");
    }
    for &target in targets {
        assert!(usize::from(target) < n_vocab, "target {target} of {n_vocab} colours");
    }
    S::cross_entropy(isa, CrossEntropy { logits, n_vocab, targets, losses, d });
}

/// Lanes of the widest vector.
const PAD: usize = 16;

pub(crate) struct CrossEntropy<'a, S> {
    logits: MatRef<'a, f32>,
    n_vocab: usize,
    targets: &'a [u16],
    losses: &'a mut [f32],
    d: Option<(f32, MatMut<'a, S>)>,
}

impl<S: Scalar> Kernel for CrossEntropy<'_, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(mut self, simd: V) {
        let whole = self.n_vocab - self.n_vocab % V::LANES;
        let rest = simd.less(simd.iota(), simd.splat((self.n_vocab - whole) as f32));
        let nothing = simd.splat(f32::NEG_INFINITY);
        for r in 0..self.logits.rows() {
            let row = self.logits.row(r);
            let target = usize::from(self.targets[r]);
            // Columns that fill whole vectors, and the vector with both colours and padding, if any.
            let (row, tail) = row.split_at(whole);
            let tail = if whole < self.n_vocab { simd.select(rest, simd.read(tail), nothing) } else { nothing };
            let mut max = tail;
            for x in row.chunks_exact(V::LANES) {
                max = simd.max(max, simd.read(x));
            }
            let max = simd.reduce_max(max);
            let top = simd.splat(max);
            let mut sum = exp_below(simd, tail, top);
            for x in row.chunks_exact(V::LANES) {
                sum = simd.add(sum, exp_below(simd, simd.read(x), top));
            }
            let sum = simd.reduce_add(sum);
            // ln Σ exp(x) − x[target], computed so that neither term contains the size of the logits.
            let loss = sum.ln() - (self.logits.row(r)[target] - max);
            self.losses[r] = loss;
            if let Some((scale, d)) = &mut self.d {
                let d = d.row_mut(r);
                let factor = simd.splat(*scale / sum);
                for (x, d) in row.chunks_exact(V::LANES).zip(d.chunks_exact_mut(V::LANES)) {
                    simd.write(d, simd.mul(exp_below(simd, simd.read(x), top), factor));
                }
                if whole < self.n_vocab {
                    let p = simd.mul(exp_below(simd, tail, top), factor);
                    simd.write(&mut d[whole..], p);
                }
                d[self.n_vocab.next_multiple_of(V::LANES)..].fill(S::default());
                // softmax − 1 without cancellation when the model is confident.
                d[target] = S::from_f32(*scale * (-loss).exp_m1());
            }
        }
    }
}

/// e^(x − top).
#[inline(always)]
fn exp_below<V: Simd>(simd: V, x: V::F32, top: V::F32) -> V::F32 {
    simd.exp2(simd.mul(simd.sub(x, top), simd.splat(LOG2_E)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bf16;
    use crate::reference::cross_entropy as reference;
    use crate::testing::{EPS, Framed, ROWS, assert_close, values};

    fn matches<S: Scalar>(isa: Isa, rows: usize, n_vocab: usize, offset: f64) {
        let cols = n_vocab.next_multiple_of(PAD);
        let spread = 8.0;
        let logits: Vec<f64> = values(rows * n_vocab, 1).iter().map(|x| spread * x + offset).collect();
        let mut logits = Framed::<f32>::new(&logits, rows, n_vocab, cols);
        for r in 0..rows {
            // Padding must not be looked at.
            logits.view_mut().row_mut(r)[n_vocab..].fill(1e9);
        }
        let targets: Vec<u16> = (0..rows).map(|r| ((r * 7919 + n_vocab - 1) % n_vocab) as u16).collect();
        let (mut losses, mut alone) = (vec![f32::NAN; rows], vec![f32::NAN; rows]);
        let mut d = Framed::<S>::unset(rows, cols);
        let scale = 0.3;
        cross_entropy::<S>(isa, logits.view(), n_vocab, &targets, &mut alone, None);
        cross_entropy(isa, logits.view(), n_vocab, &targets, &mut losses, Some((scale, d.view_mut())));
        d.assert_intact(n_vocab);
        assert_eq!(losses, alone, "the gradient does not change the loss");
        let x = logits.f64s(n_vocab);
        // Each exponential to 4e-7 and its argument's rounding; the sum's own order of n/LANES + log2 LANES.
        let relative = 4e-7 + EPS * (4.0 * 2.0 * spread + (n_vocab / 8 + 8) as f64);
        let expected = reference::cross_entropy(&x, n_vocab, &targets);
        for r in 0..rows {
            let tolerance = relative + 2.0 * EPS * (expected[r] + 2.0 * spread);
            assert_close(&format!("{} loss {r} of {n_vocab}", isa.name()), losses[r], expected[r], tolerance);
        }
        let expected = reference::cross_entropy_backward(&x, n_vocab, &targets);
        for (i, expected) in expected.iter().enumerate() {
            let (r, v) = (i / n_vocab, i % n_vocab);
            let p = if v == usize::from(targets[r]) { 1.0 } else { *expected };
            let expected = f64::from(scale) * expected;
            let tolerance = f64::from(scale) * 2.0 * relative * p;
            assert_close(&format!("{} d {r} {v} of {n_vocab}", isa.name()), d.view().row(r)[v], expected, tolerance);
        }
    }

    #[test]
    fn every_isa_matches_the_reference() {
        for isa in Isa::available() {
            for rows in ROWS {
                for n_vocab in [2, 31, 61, 64] {
                    matches::<f32>(isa, rows, n_vocab, 0.0);
                    matches::<bf16>(isa, rows, n_vocab, 0.0);
                }
            }
            for n_vocab in [3, 8, 16, 17, 32, 33, 512, 4099, 65536] {
                matches::<f32>(isa, 2, n_vocab, 0.0);
                matches::<bf16>(isa, 2, n_vocab, 0.0);
            }
        }
    }

    #[test]
    fn large_logits_neither_overflow_nor_vanish() {
        for isa in Isa::available() {
            for offset in [-3e4, 3e4] {
                matches::<f32>(isa, 3, 61, offset);
            }
        }
    }

    #[test]
    fn a_logit_that_is_not_finite_makes_the_loss_nan() {
        for isa in Isa::available() {
            for bad in [f32::NAN, f32::INFINITY] {
                for at in [0, 9, 32, 39] {
                    let mut logits = [0.0; 64];
                    logits[at] = bad;
                    let mut losses = [0.0];
                    cross_entropy::<f32>(isa, MatRef::new(&logits, 1, 64), 40, &[3], &mut losses, None);
                    assert!(losses[0].is_nan(), "{} {bad} at {at}: {}", isa.name(), losses[0]);
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "target 40 of 40 colours")]
    fn a_target_that_is_no_colour_is_refused() {
        cross_entropy::<f32>(Isa::Portable, MatRef::new(&[0.0; 64], 1, 64), 40, &[40], &mut [0.0], None);
    }
}
