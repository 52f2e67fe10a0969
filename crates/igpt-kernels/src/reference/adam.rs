//! Reference of Adam with decoupled weight decay, in the order of torch.optim.AdamW.

use crate::adam::AdamStep;

/// Updates one parameter by one step: returns the new `(p, m, v)` from its gradient `g`.
pub fn adam(step: &AdamStep, p: f64, m: f64, v: f64, g: f64) -> (f64, f64, f64) {
    let [lr, beta1, beta2] = [step.lr, step.beta1, step.beta2].map(f64::from);
    let g = g * f64::from(step.grad_scale);
    let p = p - lr * f64::from(step.weight_decay) * p;
    let m = beta1 * m + (1.0 - beta1) * g;
    let v = beta2 * v + (1.0 - beta2) * g * g;
    let denominator = v.sqrt() / f64::from(step.bias_correction2).sqrt() + f64::from(step.eps);
    (p - lr / f64::from(step.bias_correction1) * m / denominator, m, v)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_moves_by_the_learning_rate_against_the_gradient() {
        let (beta1, beta2) = (0.5, 0.75);
        let step = AdamStep {
            lr: 0.125,
            beta1,
            beta2,
            eps: 0.0,
            bias_correction1: 1.0 - beta1,
            bias_correction2: 1.0 - beta2,
            weight_decay: 0.5,
            grad_scale: 3.0,
        };
        for g in [-7.0, 1e-3] {
            let (p, m, v) = adam(&step, 2.0, 0.0, 0.0, g);
            assert!((p - (2.0 - 0.125 - 0.125 * g.signum())).abs() < 1e-12);
            assert_eq!((m, v), (1.5 * g, 0.25 * (3.0 * g) * (3.0 * g)));
        }
    }
}
