//! Element-wise parts of Muon (Jordan et al. 2024): momentum before the orthogonalization, and the update after it.

use crate::isa::{Isa, Kernel};
use crate::simd::Simd;

/// Nesterov momentum as in torch.optim.Muon, for slices of equal length.
///
/// With g' = `grad_scale` · g: m ← μ m + (1 − μ) g', then g ← μ m + (1 − μ) g', the direction of the update.
///
/// An element's bits do not depend on its neighbours or on where the slices were cut.
pub fn nesterov(isa: Isa, momentum: f32, grad_scale: f32, m: &mut [f32], g: &mut [f32]) {
    assert_eq!(m.len(), g.len(), "slices of equal length");
    isa.run(Nesterov { momentum, grad_scale, m, g });
}

/// Applies weight decay and a step along a direction: p ← p · `keep` − `stride` · o, for slices of equal length.
///
/// An element's bits do not depend on its neighbours.
pub fn descend(isa: Isa, keep: f32, stride: f32, p: &mut [f32], o: &[f32]) {
    assert_eq!(p.len(), o.len(), "slices of equal length");
    isa.run(Descend { keep, stride, p, o });
}

struct Nesterov<'a> {
    momentum: f32,
    grad_scale: f32,
    m: &'a mut [f32],
    g: &'a mut [f32],
}

impl Kernel for Nesterov<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self, _: V) {
        let (keep, rest, scale) = (self.momentum, 1.0 - self.momentum, self.grad_scale);
        for (m, g) in self.m.iter_mut().zip(self.g) {
            let new = rest * (scale * *g);
            *m = keep * *m + new;
            *g = keep * *m + new;
        }
    }
}

struct Descend<'a> {
    keep: f32,
    stride: f32,
    p: &'a mut [f32],
    o: &'a [f32],
}

impl Kernel for Descend<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Simd>(self, _: V) {
        for (p, o) in self.p.iter_mut().zip(self.o) {
            *p = *p * self.keep - self.stride * o;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::muon as reference;
    use crate::testing::{EPS, Framed, ROWS, assert_close, values};

    #[test]
    fn every_isa_matches_the_reference_over_several_steps() {
        for isa in Isa::available() {
            for n in ROWS {
                let mut m = Framed::<f32>::new(&values(n, 1), 1, n, n);
                for t in 0..3 {
                    let mut g = Framed::<f32>::new(&values(n, 2 + t), 1, n, n);
                    let before: Vec<(f64, f64)> = m.f64s(n).into_iter().zip(g.f64s(n)).collect();
                    nesterov(isa, 0.95, 0.37, m.view_mut().row_mut(0), g.view_mut().row_mut(0));
                    for (i, (m0, g0)) in before.into_iter().enumerate() {
                        let (m1, u) = reference::nesterov(0.95, 0.37, m0, g0);
                        let what = format!("{} step {t} element {i} of {n}", isa.name());
                        let size = m0.abs() + g0.abs();
                        assert_close(&what, m.view().row(0)[i], m1, 6.0 * EPS * size);
                        assert_close(&what, g.view().row(0)[i], u, 9.0 * EPS * size);
                    }
                    m.assert_intact(n);
                    g.assert_intact(n);
                }
                let mut p = Framed::<f32>::new(&values(n, 8), 1, n, n);
                let pairs = p.f64s(n).into_iter().zip(m.f64s(n));
                descend(isa, 0.99, 0.02, p.view_mut().row_mut(0), m.view().row(0));
                p.assert_intact(n);
                for (&found, (before, o)) in p.view().row(0).iter().zip(pairs) {
                    let expected = f64::from(0.99f32) * before - f64::from(0.02f32) * o;
                    assert_close("descend", found, expected, 3.0 * EPS * (before.abs() + o.abs()));
                }
            }
        }
    }
}
