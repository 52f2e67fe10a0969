//! Reference of matrix products, in f64.

use crate::{MatRef, Scalar};

/// Product a (m×k) · b (k×n), row-major m×n, and for each element Σ |a·b|, the scale of its rounding errors.
pub fn matmul<A: Scalar, B: Scalar>(a: MatRef<A>, b: MatRef<B>) -> (Vec<f64>, Vec<f64>) {
    assert_eq!(a.cols(), b.rows(), "the summed dimension");
    product(a.rows(), b.cols(), a.cols(), |i, p| a.row(i)[p], |p, j| b.row(p)[j])
}

/// Product xᵀ · dy over the rows (tokens) of both, and Σ |x·dy| as in [`matmul`].
///
/// x is T×k and dy T×n; the result is row-major k×n.
pub fn matmul_tn<A: Scalar, B: Scalar>(x: MatRef<A>, dy: MatRef<B>) -> (Vec<f64>, Vec<f64>) {
    assert_eq!(x.rows(), dy.rows(), "the summed dimension");
    product(x.cols(), dy.cols(), x.rows(), |i, t| x.row(t)[i], |t, j| dy.row(t)[j])
}

fn product<A: Scalar, B: Scalar>(
    m: usize,
    n: usize,
    k: usize,
    a: impl Fn(usize, usize) -> A,
    b: impl Fn(usize, usize) -> B,
) -> (Vec<f64>, Vec<f64>) {
    let (mut sums, mut scales) = (vec![0.0; m * n], vec![0.0; m * n]);
    for i in 0..m {
        for j in 0..n {
            for p in 0..k {
                let term = a(i, p).to_f32() as f64 * b(p, j).to_f32() as f64;
                sums[i * n + j] += term;
                scales[i * n + j] += term.abs();
            }
        }
    }
    (sums, scales)
}
