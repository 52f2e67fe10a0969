//! Cholesky factorisation in f64, for normal equations.

use igpt_kernels::pool::chunks;

use super::Workers;

/// Number of rows that are factorised before the rest is updated.
const BLOCK: usize = 32;

/// Cholesky factor: an upper triangular U with UᵀU = A.
#[derive(Debug)]
pub(super) struct Cholesky {
    upper: Vec<f64>,
    n: usize,
}

impl Cholesky {
    /// Factorises the symmetric (n, n) matrix `a`, reading its upper triangle; `None` if it is not positive definite.
    pub(super) fn new(workers: &Workers, mut a: Vec<f64>, n: usize) -> Option<Self> {
        assert_eq!(a.len(), n * n, "a square matrix");
        for first in (0..n).step_by(BLOCK) {
            let end = (first + BLOCK).min(n);
            let (done, rest) = a.split_at_mut(end * n);
            for k in first..end {
                let (above, row) = done.split_at_mut(k * n);
                let row = &mut row[..n];
                for above in above[first * n..].chunks_exact(n) {
                    subtract(above[k], &above[k..], &mut row[k..]);
                }
                let pivot = row[k].sqrt();
                // The condition also fails for NaN.
                if !(pivot > 0.0 && pivot.is_finite()) {
                    return None;
                }
                row[k..].iter_mut().for_each(|x| *x /= pivot);
            }
            let block = &done[first * n..];
            if rest.is_empty() {
                break;
            }
            workers.pool.for_each(chunks(rest, n), |i, row| {
                let j = end + i;
                for above in block.chunks_exact(n) {
                    subtract(above[j], &above[j..], &mut row[j..]);
                }
            });
        }
        Some(Self { upper: a, n })
    }

    /// Solves U x = b for the columns of `b`, (n, columns), in place.
    pub(super) fn solve_upper(&self, b: &mut [f64], columns: usize) {
        let n = self.n;
        let at = |i: usize, j: usize| self.upper[i * n + j];
        for i in (0..n).rev() {
            let (row, below) = b[i * columns..].split_at_mut(columns);
            for (k, below) in below.chunks_exact(columns).enumerate() {
                subtract(at(i, i + 1 + k), below, row);
            }
            row.iter_mut().for_each(|x| *x /= at(i, i));
        }
    }

    /// Solves Uᵀ x = b for the columns of `b`, (n, columns), in place.
    pub(super) fn solve_transposed(&self, b: &mut [f64], columns: usize) {
        let n = self.n;
        let at = |i: usize, j: usize| self.upper[i * n + j];
        for i in 0..n {
            let (above, row) = b.split_at_mut(i * columns);
            let row = &mut row[..columns];
            for (k, above) in above.chunks_exact(columns).enumerate() {
                subtract(at(k, i), above, row);
            }
            row.iter_mut().for_each(|x| *x /= at(i, i));
        }
    }

    /// Solves A x = b for the columns of `b`, (n, columns), in place.
    pub(super) fn solve(&self, b: &mut [f64], columns: usize) {
        self.solve_transposed(b, columns);
        self.solve_upper(b, columns);
    }
}

/// y -= factor · x
fn subtract(factor: f64, x: &[f64], y: &mut [f64]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y -= factor * x);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing::values;

    #[test]
    fn the_solution_solves_the_equations() {
        let workers = Workers::new(2);
        for n in [1, 2, 31, 33, 100] {
            let m: Vec<f64> = values(n * n, 1.0, 7).iter().map(|&x| f64::from(x)).collect();
            let product = |i: usize, j: usize| (0..n).map(|k| m[k * n + i] * m[k * n + j]).sum::<f64>();
            let a: Vec<f64> =
                (0..n * n).map(|x| product(x / n, x % n) + if x / n == x % n { 1.0 } else { 0.0 }).collect();
            let b: Vec<f64> = (0..n * 3).map(|i| (i % 11) as f64 - 4.0).collect();
            let mut x = b.clone();
            Cholesky::new(&workers, a.clone(), n).unwrap().solve(&mut x, 3);
            for i in 0..n {
                for c in 0..3 {
                    let got: f64 = (0..n).map(|k| a[i * n + k] * x[k * 3 + c]).sum();
                    assert!((got - b[i * 3 + c]).abs() < 1e-8, "{n}: {got} instead of {}", b[i * 3 + c]);
                }
            }
        }
    }

    #[test]
    fn a_matrix_that_is_not_positive_definite_has_no_factor() {
        assert!(Cholesky::new(&Workers::new(1), vec![1.0, 2.0, 2.0, 1.0], 2).is_none());
        assert!(Cholesky::new(&Workers::new(1), vec![f64::NAN], 1).is_none());
    }
}
