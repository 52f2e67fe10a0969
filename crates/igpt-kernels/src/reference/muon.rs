//! Reference of Muon, in the order of torch.optim.Muon: Nesterov momentum and the Newton–Schulz iteration.

use crate::newton_schulz::{COEFFICIENTS, EPS, STEPS};

/// Nesterov momentum of one element: its new momentum, and the direction of the update.
pub fn nesterov(momentum: f32, grad_scale: f32, m: f64, g: f64) -> (f64, f64) {
    let momentum = f64::from(momentum);
    let g = g * f64::from(grad_scale);
    let m = m + (g - m) * (1.0 - momentum);
    (m, g + (m - g) * momentum)
}

/// Makes the row-major `rows` × `cols` matrix `x` nearly orthogonal by the Newton–Schulz iteration.
pub fn orthogonalize(x: &[f64], rows: usize, cols: usize) -> Vec<f64> {
    if rows > cols {
        return transpose(&orthogonalize(&transpose(x, rows, cols), cols, rows), cols, rows);
    }
    let [a, b, c] = COEFFICIENTS.map(f64::from);
    let norm = x.iter().map(|x| x * x).sum::<f64>().sqrt().max(f64::from(EPS));
    let mut x: Vec<f64> = x.iter().map(|x| x / norm).collect();
    for _ in 0..STEPS {
        let gram = product(&x, &transpose(&x, rows, cols), rows, cols, rows);
        let square = product(&gram, &gram, rows, rows, rows);
        let update: Vec<f64> = gram.iter().zip(&square).map(|(g, s)| b * g + c * s).collect();
        let moved = product(&update, &x, rows, rows, cols);
        x = x.iter().zip(&moved).map(|(x, m)| a * x + m).collect();
    }
    x
}

/// Matrix product a (m×k) · b (k×n).
pub fn product(a: &[f64], b: &[f64], m: usize, k: usize, n: usize) -> Vec<f64> {
    let mut out = vec![0.0; m * n];
    for i in 0..m {
        for p in 0..k {
            for j in 0..n {
                out[i * n + j] += a[i * k + p] * b[p * n + j];
            }
        }
    }
    out
}

/// Transpose of the row-major `rows` × `cols` matrix `x`.
pub fn transpose(x: &[f64], rows: usize, cols: usize) -> Vec<f64> {
    (0..rows * cols).map(|i| x[i % rows * cols + i / rows]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_multiple_of_an_orthogonal_matrix_keeps_its_directions() {
        // The singular values are 1/√2 after the division by the norm; the iteration changes each independently.
        let [a, b, c] = COEFFICIENTS.map(f64::from);
        let mut sigma = 0.5f64.sqrt();
        for _ in 0..STEPS {
            sigma = a * sigma + b * sigma.powi(3) + c * sigma.powi(5);
        }
        let found = orthogonalize(&[0.0, -7.0, 7.0, 0.0], 2, 2);
        let expected = [0.0, -sigma, sigma, 0.0];
        assert!(found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 1e-12), "{found:?} {expected:?}");
    }
}
