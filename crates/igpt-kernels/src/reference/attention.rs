//! Reference of softmax attention of one head, causal or over all positions, forward and backward.

use crate::attention::Mask;

/// Attention of one head: `softmax(scale · q kᵀ + mask) v`, with `q`, `k` and `v` `n_ctx × head_size`, row-major.
///
/// Returns the output of the same shape and `lse`: per query, the base-2 logarithm of the sum of `exp(scale · q·k)`
/// over the keys that it attends to.
pub fn forward(mask: Mask, scale: f64, head_size: usize, q: &[f64], k: &[f64], v: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let n_ctx = q.len() / head_size;
    let mut out = vec![0.0; n_ctx * head_size];
    let mut lse = vec![0.0; n_ctx];
    for i in 0..n_ctx {
        let (p, log_sum) = probabilities(mask, scale, head_size, q, k, i);
        for (j, p) in p.iter().enumerate() {
            for d in 0..head_size {
                out[i * head_size + d] += p * v[j * head_size + d];
            }
        }
        lse[i] = log_sum * std::f64::consts::LOG2_E;
    }
    (out, lse)
}

/// Gradients `(dq, dk, dv)` of [`forward`], given the gradient `dout` of its output.
pub fn backward(
    mask: Mask,
    scale: f64,
    head_size: usize,
    q: &[f64],
    k: &[f64],
    v: &[f64],
    dout: &[f64],
) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let n_ctx = q.len() / head_size;
    let (mut dq, mut dk, mut dv) = (vec![0.0; q.len()], vec![0.0; q.len()], vec![0.0; q.len()]);
    for i in 0..n_ctx {
        let (p, _) = probabilities(mask, scale, head_size, q, k, i);
        let dout = row(dout, head_size, i);
        let dp: Vec<f64> = (0..p.len()).map(|j| dot(dout, row(v, head_size, j))).collect();
        let delta = dot(&p, &dp);
        for j in 0..p.len() {
            let ds = scale * p[j] * (dp[j] - delta);
            for d in 0..head_size {
                dv[j * head_size + d] += p[j] * dout[d];
                dk[j * head_size + d] += ds * q[i * head_size + d];
                dq[i * head_size + d] += ds * k[j * head_size + d];
            }
        }
    }
    (dq, dk, dv)
}

/// Softmax of query `i` over the keys that it attends to, and the natural logarithm of its denominator.
fn probabilities(mask: Mask, scale: f64, head_size: usize, q: &[f64], k: &[f64], i: usize) -> (Vec<f64>, f64) {
    let seen = if mask == Mask::Causal { i + 1 } else { k.len() / head_size };
    let mut p: Vec<f64> = (0..seen).map(|j| scale * dot(row(q, head_size, i), row(k, head_size, j))).collect();
    let max = p.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = p.iter().map(|s| (s - max).exp()).sum();
    for s in &mut p {
        *s = (*s - max).exp() / sum;
    }
    (p, max + sum.ln())
}

fn row(x: &[f64], width: usize, i: usize) -> &[f64] {
    &x[i * width..][..width]
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_gradient, values};

    #[test]
    fn the_gradient_is_the_slope_of_the_forward_pass() {
        let (n, head_size, scale) = (5 * 3, 3, 0.7);
        let inputs = [values(n, 1), values(n, 2), values(n, 3)];
        let dout = values(n, 4);
        for mask in [Mask::Causal, Mask::None] {
            let (dq, dk, dv) = backward(mask, scale, head_size, &inputs[0], &inputs[1], &inputs[2], &dout);
            for (which, gradient) in [dq, dk, dv].iter().enumerate() {
                assert_gradient(gradient, &inputs[which], |x| {
                    let mut moved = inputs.clone();
                    moved[which] = x.to_vec();
                    dot(&forward(mask, scale, head_size, &moved[0], &moved[1], &moved[2]).0, &dout)
                });
            }
        }
    }

    #[test]
    fn equal_keys_average_the_values_that_are_seen() {
        let (q, k, v) = ([0.0; 4], [3.0; 4], [1.0, 2.0, 6.0, 7.0]);
        let (out, lse) = forward(Mask::Causal, 1.0, 1, &q, &k, &v);
        assert_eq!(out, [1.0, 1.5, 3.0, 4.0]);
        assert!((lse[3] - 2.0).abs() < 1e-12);
        assert_eq!(forward(Mask::None, 1.0, 1, &q, &k, &v).0, [4.0; 4]);
    }
}
