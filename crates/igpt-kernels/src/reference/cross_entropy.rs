//! Reference of the cross-entropy of a softmax, in nats.

/// Cross-entropy −ln `softmax(logits)[target]` of each row of `n_vocab` logits.
pub fn cross_entropy(logits: &[f64], n_vocab: usize, targets: &[u16]) -> Vec<f64> {
    let rows = logits.chunks_exact(n_vocab).zip(targets);
    rows.map(|(row, &target)| log_sum(row) - row[usize::from(target)]).collect()
}

/// Gradient of the sum of [`cross_entropy`] over the rows: softmax minus the one-hot target.
pub fn cross_entropy_backward(logits: &[f64], n_vocab: usize, targets: &[u16]) -> Vec<f64> {
    let mut d = Vec::with_capacity(logits.len());
    for (row, &target) in logits.chunks_exact(n_vocab).zip(targets) {
        let lse = log_sum(row);
        d.extend(row.iter().enumerate().map(|(v, x)| (x - lse).exp() - f64::from(v == usize::from(target))));
    }
    d
}

/// Logarithm of the sum of exponentials, ln Σ exp(x).
fn log_sum(x: &[f64]) -> f64 {
    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    max + x.iter().map(|x| (x - max).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_gradient, values};

    #[test]
    fn the_gradient_is_the_slope_of_the_loss() {
        let (logits, targets) = (values(3 * 7, 1), [6, 0, 3]);
        let d = cross_entropy_backward(&logits, 7, &targets);
        assert_gradient(&d, &logits, |logits| cross_entropy(logits, 7, &targets).iter().sum());
    }

    #[test]
    fn equal_logits_cost_the_logarithm_of_their_number() {
        assert!((cross_entropy(&[500.0; 8], 8, &[5])[0] - 8f64.ln()).abs() < 1e-12);
    }
}
