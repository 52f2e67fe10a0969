//! Adam with decoupled weight decay (AdamW), in one pass over parameters, moments and gradients.

use crate::isa::{Isa, Kernel};
use crate::simd::Simd;

/// Coefficients of one AdamW step, as in torch.optim.AdamW.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamStep {
    /// Learning rate.
    pub lr: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Epsilon, added to the square root of the second moment.
    pub eps: f32,
    /// Bias correction of the first moment: 1 − beta1 to the number of steps, including this one.
    pub bias_correction1: f32,
    /// Bias correction of the second moment: 1 − beta2 to the number of steps, including this one.
    pub bias_correction2: f32,
    /// Decoupled weight decay: the share of `lr` by which parameters shrink.
    pub weight_decay: f32,
    /// Factor that gradients are multiplied by first, for clipping.
    pub grad_scale: f32,
}

/// Updates parameters `p` and moments `m`, `v` by one AdamW step with gradients `g`, all of the same length.
///
/// With g' = `grad_scale` · g:
///
/// p ← p − lr · weight_decay · p, m ← β₁ m + (1 − β₁) g', v ← β₂ v + (1 − β₂) g'²,
/// p ← p − lr / bias_correction1 · m / (sqrt(v) / sqrt(bias_correction2) + eps).
///
/// An element's bits do not depend on its neighbours or on where the slices were cut.
pub fn adam(isa: Isa, step: &AdamStep, p: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32]) {
    assert_eq!((p.len(), m.len(), v.len()), (g.len(), g.len(), g.len()), "slices of equal length");
    isa.run(Adam { step, p, m, v, g });
}

struct Adam<'a> {
    step: &'a AdamStep,
    p: &'a mut [f32],
    m: &'a mut [f32],
    v: &'a mut [f32],
    g: &'a [f32],
}

/// Coefficients of the step, each in all lanes.
#[derive(Clone, Copy)]
struct Factors<F> {
    grad_scale: F,
    keep: F,
    beta1: F,
    rest1: F,
    beta2: F,
    rest2: F,
    root: F,
    eps: F,
    stride: F,
}

/// Updated `(p, m, v)`.
#[inline(always)]
fn update<V: Simd>(simd: V, k: Factors<V::F32>, p: V::F32, m: V::F32, v: V::F32, g: V::F32) -> [V::F32; 3] {
    let g = simd.mul(g, k.grad_scale);
    let m = simd.mul_add(m, k.beta1, simd.mul(g, k.rest1));
    let v = simd.mul_add(v, k.beta2, simd.mul(simd.mul(g, g), k.rest2));
    let denominator = simd.mul_add(simd.sqrt(v), k.root, k.eps);
    let p = simd.mul_add(k.stride, simd.div(m, denominator), simd.mul(p, k.keep));
    [p, m, v]
}

impl Kernel for Adam<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self, simd: V) {
        let AdamStep { lr, beta1, beta2, eps, bias_correction1, bias_correction2, weight_decay, grad_scale } =
            *self.step;
        let k = Factors {
            grad_scale: simd.splat(grad_scale),
            keep: simd.splat(1.0 - lr * weight_decay),
            beta1: simd.splat(beta1),
            rest1: simd.splat(1.0 - beta1),
            beta2: simd.splat(beta2),
            rest2: simd.splat(1.0 - beta2),
            root: simd.splat(1.0 / bias_correction2.sqrt()),
            eps: simd.splat(eps),
            stride: simd.splat(-lr / bias_correction1),
        };
        let mut ps = self.p.chunks_exact_mut(V::LANES);
        let mut ms = self.m.chunks_exact_mut(V::LANES);
        let mut vs = self.v.chunks_exact_mut(V::LANES);
        let mut gs = self.g.chunks_exact(V::LANES);
        for (((p, m), v), g) in (&mut ps).zip(&mut ms).zip(&mut vs).zip(&mut gs) {
            let [new_p, new_m, new_v] = update(simd, k, simd.read(p), simd.read(m), simd.read(v), simd.read(g));
            simd.write(p, new_p);
            simd.write(m, new_m);
            simd.write(v, new_v);
        }
        let (p, m, v) = (ps.into_remainder(), ms.into_remainder(), vs.into_remainder());
        let g = simd.read_partial(gs.remainder());
        let [new_p, new_m, new_v] =
            update(simd, k, simd.read_partial(p), simd.read_partial(m), simd.read_partial(v), g);
        simd.write_partial(p, new_p);
        simd.write_partial(m, new_m);
        simd.write_partial(v, new_v);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::adam as reference;
    use crate::testing::{EPS, Framed, ROWS, assert_close, values};

    /// The paper's settings at step `t`, with weight decay and clipping so that both have an effect.
    fn step(t: i32) -> AdamStep {
        let (beta1, beta2) = (0.9f32, 0.95f32);
        AdamStep {
            lr: 3e-3,
            beta1,
            beta2,
            eps: 1e-8,
            bias_correction1: 1.0 - beta1.powi(t),
            bias_correction2: 1.0 - beta2.powi(t),
            weight_decay: 0.1,
            grad_scale: 0.37,
        }
    }

    #[test]
    fn every_isa_matches_the_reference_over_several_steps() {
        for isa in Isa::available() {
            for n in ROWS {
                let mut p = Framed::<f32>::new(&values(n, 1), 1, n, n);
                let (mut m, mut v) = (Framed::<f32>::new(&vec![0.0; n], 1, n, n), Framed::new(&vec![0.0; n], 1, n, n));
                for t in 1..4 {
                    let g: Vec<f64> = values(n, 10 + t as u64).iter().map(|x| x * x * x).collect();
                    let g = Framed::<f32>::new(&g, 1, n, n);
                    let before = [p.f64s(n), m.f64s(n), v.f64s(n)];
                    adam(
                        isa,
                        &step(t),
                        p.view_mut().row_mut(0),
                        m.view_mut().row_mut(0),
                        v.view_mut().row_mut(0),
                        g.view().row(0),
                    );
                    for (i, g) in g.f64s(n).into_iter().enumerate() {
                        let (p0, m0, v0) = (before[0][i], before[1][i], before[2][i]);
                        let (p1, m1, v1) = reference::adam(&step(t), p0, m0, v0, g);
                        let what = format!("{} step {t} element {i} of {n}", isa.name());
                        let size = m0.abs() + g.abs();
                        assert_close(&what, m.view().row(0)[i], m1, 6.0 * EPS * size);
                        assert_close(&what, v.view().row(0)[i], v1, 8.0 * EPS * v1);
                        // The errors of both moments enter the move relative to their own size.
                        let largest_move = 3e-3 * size / (v1.sqrt() + 1e-12) * 10.0;
                        assert_close(&what, p.view().row(0)[i], p1, EPS * (3.0 * p0.abs() + 16.0 * largest_move));
                    }
                    for framed in [&p, &m, &v] {
                        framed.assert_intact(n);
                    }
                }
            }
        }
    }

    #[test]
    fn padding_without_gradient_stays_zero() {
        for isa in Isa::available() {
            let (mut p, mut m, mut v) = ([0.0; 40], [0.0; 40], [0.0; 40]);
            adam(isa, &step(1), &mut p, &mut m, &mut v, &[0.0; 40]);
            assert_eq!((p, m, v), ([0.0; 40], [0.0; 40], [0.0; 40]));
        }
    }

    #[test]
    fn bits_do_not_depend_on_where_the_arena_is_cut() {
        let to_f32 = |x: Vec<f64>| x.iter().map(|&x| x as f32).collect::<Vec<f32>>();
        let (p, g) = (to_f32(values(101, 1)), to_f32(values(101, 2)));
        for isa in Isa::available() {
            let (mut whole, mut m, mut v) = (p.clone(), vec![0.1; 101], vec![0.2; 101]);
            adam(isa, &step(2), &mut whole, &mut m, &mut v, &g);
            let (mut cut, mut m, mut v) = (p.clone(), vec![0.1; 101], vec![0.2; 101]);
            for range in [0..7, 7..40, 40..101] {
                let [p, m, v] = [&mut cut, &mut m, &mut v].map(|x| &mut x[range.clone()]);
                adam(isa, &step(2), p, m, v, &g[range]);
            }
            assert_eq!(whole, cut);
        }
    }
}
