//! Common parts of the kernel tests: values, canaries around outputs, rounding budgets, slopes.

use crate::{MatMut, MatRef, Scalar};

/// Row counts on both sides of every block size.
pub(crate) const ROWS: [usize; 13] = [0, 1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127];

/// Half the distance from 1 to the next f32: the largest relative error of one rounding.
pub(crate) const EPS: f64 = f32::EPSILON as f64 / 2.0;

/// Fixed values in [-1, 1) without a pattern that could hide a wrong index.
pub(crate) fn values(n: usize, seed: u64) -> Vec<f64> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// Scalar product Σ a·b.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Checks a gradient by central differences of its function.
pub(crate) fn assert_gradient(gradient: &[f64], at: &[f64], f: impl Fn(&[f64]) -> f64) {
    assert_eq!(gradient.len(), at.len());
    let h = 1e-5;
    for i in 0..at.len() {
        let moved = |h: f64| {
            let mut x = at.to_vec();
            x[i] += h;
            f(&x)
        };
        let slope = (moved(h) - moved(-h)) / (2.0 * h);
        assert!((slope - gradient[i]).abs() < 1e-8 * (1.0 + slope.abs()), "{i}: {} is not {slope}", gradient[i]);
    }
}

/// Relative error of storing a value: none for f32, half a unit in the last place for bf16.
pub(crate) fn storage_error<S: Scalar>() -> f64 {
    if S::PACK == 2 { 1.0 / 256.0 } else { 0.0 }
}

/// Checks `found` against `expected` with a tolerance for each value.
pub(crate) fn assert_close<S: Scalar>(what: &str, found: S, expected: f64, tolerance: f64) {
    let found = f64::from(found.to_f32());
    let tolerance = tolerance + storage_error::<S>() * (expected.abs() + tolerance);
    assert!((found - expected).abs() <= tolerance, "{what}: {found} is not {expected} (± {tolerance:e})");
}

/// Matrix surrounded by NaNs: columns `width..cols` are zero padding, and canaries follow every row and both ends.
pub(crate) struct Framed<S> {
    data: Vec<S>,
    rows: usize,
    cols: usize,
}

/// Number of canaries at the end of each row, and before and after the matrix; odd, so that rows are not aligned.
const GAP: usize = 5;

impl<S: Scalar> Framed<S> {
    /// Rows of `width` values rounded to `S`, padded with zeros to `cols`.
    pub(crate) fn new(values: &[f64], rows: usize, width: usize, cols: usize) -> Self {
        let mut framed = Self { data: vec![S::from_f32(f32::NAN); GAP + rows * (cols + GAP)], rows, cols };
        for r in 0..rows {
            let row = &mut framed.data[GAP + r * (cols + GAP)..][..cols];
            row.fill(S::default());
            for (x, value) in row.iter_mut().zip(&values[r * width..][..width]) {
                *x = S::from_f32(*value as f32);
            }
        }
        framed
    }

    /// Matrix of NaNs to be filled.
    pub(crate) fn unset(rows: usize, cols: usize) -> Self {
        Self { data: vec![S::from_f32(f32::NAN); GAP + rows * (cols + GAP)], rows, cols }
    }

    /// View of the matrix, whose rows are a canary gap apart.
    pub(crate) fn view(&self) -> MatRef<'_, S> {
        MatRef::strided(&self.data[GAP..], self.rows, self.cols, self.cols + GAP)
    }

    /// Writable view of the matrix.
    pub(crate) fn view_mut(&mut self) -> MatMut<'_, S> {
        MatMut::strided(&mut self.data[GAP..], self.rows, self.cols, self.cols + GAP)
    }

    /// The first `width` columns as they were rounded, without padding.
    pub(crate) fn f64s(&self, width: usize) -> Vec<f64> {
        let rows = (0..self.rows).map(|r| self.view().row(r));
        rows.flat_map(|row| row[..width].iter().map(|x| f64::from(x.to_f32()))).collect()
    }

    /// Panics if a canary was overwritten or a column from `width` on is not zero.
    pub(crate) fn assert_intact(&self, width: usize) {
        for (i, x) in self.data.iter().enumerate() {
            let inside = i >= GAP && (i - GAP) % (self.cols + GAP) < self.cols;
            if !inside {
                assert!(x.to_f32().is_nan(), "canary {i} was overwritten with {x:?}");
            } else if (i - GAP) % (self.cols + GAP) >= width {
                assert_eq!(x.to_f32(), 0.0, "padding at {i}");
            }
        }
    }
}
