//! L-BFGS (Nocedal 1980; Liu and Nocedal 1989): minimises a smooth function from its values and gradients.
//!
//! Steps are found by bisection to the weak Wolfe conditions (Lewis and Overton 2013). On convex functions this is as
//! good as other line searches and has no corner cases. Values may carry rounding noise of a relative [`NOISE`]. If
//! that hides the decrease, the slope decides (Hager and Zhang 2005, the approximate Wolfe conditions). If the caller
//! has a preconditioner, an estimate of the inverse Hessian, it replaces the usual multiple of the identity.

use std::collections::VecDeque;

/// Number of remembered differences, as in scikit-learn.
const HISTORY: usize = 10;
/// Relative error of function values that are sums in f32.
const NOISE: f64 = 1e-6;
/// Constants of the two Wolfe conditions.
const DECREASE: f64 = 1e-4;
const CURVATURE: f64 = 0.9;
/// Largest number of points tried along a line.
const TRIES: usize = 30;

/// Stopping criteria.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Largest entry of the gradient at which the minimum counts as found.
    pub(super) tolerance: f64,
    /// Largest number of steps.
    pub(super) iterations: usize,
}

/// Result of a minimisation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Outcome {
    /// Value of the function.
    pub(super) value: f64,
    /// Steps taken.
    pub(super) iterations: usize,
    /// Number of values and gradients computed.
    pub(super) evaluations: usize,
    /// Whether it converged: the gradient is below the tolerance, or rounding hides any further decrease.
    pub(super) converged: bool,
}

/// A step and the change of the gradient along it.
struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
    /// Scalar product of step and change.
    product: f64,
    /// Scalar product of change and preconditioned change.
    preconditioned: f64,
}

/// Multiplies a vector by an estimate of the inverse Hessian, symmetric and positive definite, in place.
pub(super) type Precondition<'a> = &'a dyn Fn(&mut [f64]);

/// Minimises `function`, which returns its value and writes its gradient, starting from `x`.
pub(super) fn minimise(
    x: &mut Vec<f64>,
    limits: Limits,
    precondition: Precondition<'_>,
    function: &mut dyn FnMut(&[f64], &mut [f64]) -> f64,
) -> Outcome {
    let mut gradient = vec![0.0; x.len()];
    let mut value = function(x, &mut gradient);
    let (mut next, mut next_gradient) = (x.clone(), gradient.clone());
    let mut history: VecDeque<Pair> = VecDeque::with_capacity(HISTORY);
    let mut outcome = Outcome { value, iterations: 0, evaluations: 1, converged: false };
    loop {
        outcome.value = value;
        outcome.converged = gradient.iter().all(|g| g.abs() <= limits.tolerance);
        if outcome.converged || outcome.iterations == limits.iterations {
            return outcome;
        }
        let mut direction = descent(&gradient, &history, precondition);
        let mut slope = dot(&gradient, &direction);
        if slope >= 0.0 || slope.is_nan() {
            history.clear();
            direction = descent(&gradient, &history, precondition);
            slope = dot(&gradient, &direction);
        }
        let (mut low, mut high) = (0.0, f64::INFINITY);
        let mut t = if history.is_empty() { (1.0 / slope.abs().sqrt()).min(1.0) } else { 1.0 };
        let mut found = None;
        for _ in 0..TRIES {
            next.iter_mut().zip(x.iter().zip(&direction)).for_each(|(next, (x, d))| *next = x + t * d);
            let tried = function(&next, &mut next_gradient);
            outcome.evaluations += 1;
            let next_slope = dot(&next_gradient, &direction);
            let falls = tried <= value + DECREASE * t * slope;
            let flattens = tried <= value + NOISE * value.abs() && next_slope <= (2.0 * DECREASE - 1.0) * slope;
            // NaN counts as too far.
            if !(falls || flattens) {
                high = t;
            } else if next_slope < CURVATURE * slope {
                low = t;
            } else {
                found = Some(tried);
                break;
            }
            t = if high.is_finite() { (low + high) / 2.0 } else { 2.0 * low };
        }
        let Some(tried) = found else {
            if history.is_empty() {
                outcome.converged = true;
                return outcome;
            }
            // Noise has spoilt the history: try once more along the gradient.
            history.clear();
            outcome.iterations += 1;
            continue;
        };
        let step: Vec<f64> = next.iter().zip(x.iter()).map(|(next, x)| next - x).collect();
        let change: Vec<f64> = next_gradient.iter().zip(&gradient).map(|(next, g)| next - g).collect();
        let product = dot(&step, &change);
        if product > 0.0 {
            if history.len() == HISTORY {
                history.pop_front();
            }
            let mut turned = change.clone();
            precondition(&mut turned);
            let preconditioned = dot(&change, &turned);
            history.push_back(Pair { step, change, product, preconditioned });
        }
        std::mem::swap(x, &mut next);
        std::mem::swap(&mut gradient, &mut next_gradient);
        value = tried;
        outcome.iterations += 1;
    }
}

/// Quasi-Newton direction, by the two-loop recursion.
fn descent(gradient: &[f64], history: &VecDeque<Pair>, precondition: Precondition<'_>) -> Vec<f64> {
    let mut d: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut alphas = Vec::with_capacity(history.len());
    for pair in history.iter().rev() {
        let alpha = dot(&pair.step, &d) / pair.product;
        d.iter_mut().zip(&pair.change).for_each(|(d, y)| *d -= alpha * y);
        alphas.push(alpha);
    }
    precondition(&mut d);
    if let Some(pair) = history.back() {
        let scale = pair.product / pair.preconditioned;
        d.iter_mut().for_each(|d| *d *= scale);
    }
    for (pair, alpha) in history.iter().zip(alphas.into_iter().rev()) {
        let beta = dot(&pair.change, &d) / pair.product;
        d.iter_mut().zip(&pair.step).for_each(|(d, s)| *d += (alpha - beta) * s);
    }
    d
}

/// Scalar product in eight independent sums, since one chain of additions would serialise them.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    for (a, b) in a.chunks(8).zip(b.chunks(8)) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { tolerance: 1e-8, iterations: 300 };

    #[test]
    fn rosenbrock_valley_is_followed_to_its_end() {
        let mut x = vec![-1.2, 1.0];
        let outcome = minimise(&mut x, LIMITS, &|_| (), &mut |x, g| {
            let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
            (g[0], g[1]) = (-2.0 * a - 400.0 * x[0] * b, 200.0 * b);
            a * a + 100.0 * b * b
        });
        assert!(outcome.converged && outcome.iterations < 80, "{outcome:?}");
        assert!((x[0] - 1.0).abs() < 1e-6 && (x[1] - 1.0).abs() < 1e-6, "{x:?}");
    }

    #[test]
    fn a_quadratic_of_a_thousandfold_curvature_takes_few_steps() {
        let mut x = vec![1.0; 50];
        let outcome = minimise(&mut x, LIMITS, &|_| (), &mut |x, g| {
            let curvature = |i: usize| 1.0 + 20.0 * i as f64;
            g.iter_mut().enumerate().for_each(|(i, g)| *g = curvature(i) * x[i]);
            x.iter().enumerate().map(|(i, x)| curvature(i) * x * x / 2.0).sum()
        });
        assert!(outcome.converged && outcome.iterations < 150, "{outcome:?}");
    }

    #[test]
    fn a_preconditioner_takes_the_curvature_away() {
        let curvature = |i: usize| 10f64.powi(i as i32 % 7);
        let mut x = vec![1.0; 50];
        let precondition = |d: &mut [f64]| d.iter_mut().enumerate().for_each(|(i, d)| *d /= 2.0 * curvature(i));
        let outcome = minimise(&mut x, LIMITS, &precondition, &mut |x, g| {
            g.iter_mut().enumerate().for_each(|(i, g)| *g = curvature(i) * x[i]);
            x.iter().enumerate().map(|(i, x)| curvature(i) * x * x / 2.0).sum()
        });
        assert!(outcome.converged && outcome.iterations < 10, "{outcome:?}");
    }

    #[test]
    fn noise_in_the_values_does_not_hide_the_way_down() {
        let mut x = vec![1.0; 50];
        let outcome = minimise(&mut x, Limits { tolerance: 1e-6, ..LIMITS }, &|_| (), &mut |x, g| {
            let curvature = |i: usize| 1.0 + 20.0 * i as f64;
            g.iter_mut().enumerate().for_each(|(i, g)| *g = curvature(i) * x[i]);
            let value: f64 = x.iter().enumerate().map(|(i, x)| curvature(i) * x * x / 2.0).sum();
            (1.0 + value) * (1.0 + 3e-7 * (1e9 * x[0]).sin())
        });
        assert!(x.iter().all(|x| x.abs() < 1e-6), "{x:?}");
        assert!(outcome.converged && outcome.evaluations < 200, "{outcome:?}");
    }

    #[test]
    fn noise_in_the_values_ends_the_search_near_the_minimum() {
        let (mut x, mut turn) = (vec![3.0, -2.0], 0);
        minimise(&mut x, Limits { tolerance: 0.0, ..LIMITS }, &|_| (), &mut |x, g| {
            turn += 1;
            (g[0], g[1]) = (2.0 * x[0], 2.0 * x[1]);
            1.0 + x[0] * x[0] + x[1] * x[1] + 1e-9 * f64::from(turn % 3)
        });
        assert!(x.iter().all(|x| x.abs() < 1e-3), "{x:?}");
    }
}
