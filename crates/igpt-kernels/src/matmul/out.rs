//! Destination of a matrix product, and the operations on its sums while they are still in registers.

use crate::activation::{gelu_lanes, gelu_slope_lanes};
use crate::simd::Simd;
use crate::{MatMut, MatRef, Scalar};

/// Destination of a matrix product, with the operations applied on the way; all matrices are m×n.
#[derive(Debug)]
pub enum Out<'a, S> {
    /// Stores the f32 sums.
    F32(MatMut<'a, f32>),
    /// Adds the f32 sums to the present values.
    AddF32(MatMut<'a, f32>),
    /// Stores the f32 sums plus `to` in `out`.
    SumF32 {
        /// Matrix that is added to the product.
        to: MatRef<'a, f32>,
        /// Destination of the sum.
        out: MatMut<'a, f32>,
    },
    /// Stores the sums rounded to `S`.
    Store(MatMut<'a, S>),
    /// Stores the product and its activation.
    ///
    /// `pre` is the product rounded to `S`. `out` is the quick GELU x · sigmoid(1.702 x) of that rounded value, which
    /// is all that the backward pass will see.
    Gelu {
        /// Destination of the product.
        pre: MatMut<'a, S>,
        /// Destination of the activation.
        out: MatMut<'a, S>,
    },
    /// Applies the backward pass of the activation to the product, which is the gradient of the activation of `pre`.
    ///
    /// `d` receives the gradient of `pre` itself, `out` the activation once more.
    GeluBackward {
        /// Input of the activation.
        pre: MatRef<'a, S>,
        /// Destination of the gradient of `pre`.
        d: MatMut<'a, S>,
        /// Destination of the activation of `pre`.
        out: MatMut<'a, S>,
    },
}

impl<S> Out<'_, S> {
    /// Number of columns of the product.
    pub fn cols(&self) -> usize {
        match self {
            Out::F32(out) | Out::AddF32(out) | Out::SumF32 { out, .. } => out.cols(),
            Out::Store(out) | Out::Gelu { out, .. } | Out::GeluBackward { out, .. } => out.cols(),
        }
    }
}

impl<'a, S> Out<'a, S> {
    /// Panics unless all matrices are m×n.
    pub(super) fn checked(self, m: usize, n: usize) -> Target<S> {
        match self {
            Out::F32(out) => Target::F32(Place::new(out, m, n)),
            Out::AddF32(out) => {
                let place = Place::new(out, m, n);
                Target::SumF32(place.source(), place)
            }
            Out::SumF32 { to, out } => Target::SumF32(Source::new(to, m, n), Place::new(out, m, n)),
            Out::Store(out) => Target::Store(Place::new(out, m, n)),
            Out::Gelu { pre, out } => Target::Gelu(Place::new(pre, m, n), Place::new(out, m, n)),
            Out::GeluBackward { pre, d, out } => {
                Target::GeluBackward(Source::new(pre, m, n), Place::new(d, m, n), Place::new(out, m, n))
            }
        }
    }
}

/// Checked m×n matrix to read.
#[derive(Clone, Copy)]
pub(super) struct Source<T> {
    start: *const T,
    stride: usize,
}

impl<T> Source<T> {
    fn new(from: MatRef<T>, m: usize, n: usize) -> Self {
        assert_eq!((from.rows(), from.cols()), (m, n), "the shape of what a product meets");
        Self { start: from.as_ptr(), stride: from.stride() }
    }

    /// # Safety
    /// The element must lie in the matrix.
    #[inline(always)]
    unsafe fn at(self, row: usize, col: usize) -> *const T {
        // SAFETY: the caller's promise.
        unsafe { self.start.add(row * self.stride + col) }
    }
}

/// Checked m×n target.
#[derive(Clone, Copy)]
pub(super) struct Place<T> {
    start: *mut T,
    stride: usize,
}

impl<T> Place<T> {
    fn new(mut out: MatMut<T>, m: usize, n: usize) -> Self {
        assert_eq!((out.rows(), out.cols()), (m, n), "the shape of a product");
        Self { start: out.as_mut_ptr(), stride: out.stride() }
    }

    /// Read-only view of the same elements.
    fn source(&self) -> Source<T> {
        Source { start: self.start, stride: self.stride }
    }

    /// # Safety
    /// The element must lie in the target.
    #[inline(always)]
    unsafe fn at(self, row: usize, col: usize) -> *mut T {
        // SAFETY: the caller's promise.
        unsafe { self.start.add(row * self.stride + col) }
    }
}

#[derive(Clone, Copy)]
pub(super) enum Target<S> {
    F32(Place<f32>),
    SumF32(Source<f32>, Place<f32>),
    Store(Place<S>),
    Gelu(Place<S>, Place<S>),
    GeluBackward(Source<S>, Place<S>, Place<S>),
}

/// Two vectors of columns of a product: their bias and destination.
#[derive(Clone, Copy)]
pub(super) struct Finish<S> {
    /// Biases of these columns.
    pub(super) bias: Option<*const f32>,
    pub(super) target: Target<S>,
    /// First row and column of the target.
    pub(super) row: usize,
    pub(super) col: usize,
}

impl<S: Scalar> Finish<S> {
    /// Prefetches the values that the sums will be combined with, so that they have arrived in time.
    ///
    /// # Safety
    /// The target must have rows `row .. row + MR` from the first on.
    #[inline(always)]
    pub(super) unsafe fn prefetch<V: Simd, const MR: usize>(&self, simd: V, row: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            match self.target {
                Target::SumF32(to, _) => {
                    for r in 0..MR {
                        for v in 0..2 {
                            simd.prefetch(to.at(self.row + row + r, self.col + v * V::LANES));
                        }
                    }
                }
                Target::GeluBackward(pre, ..) => {
                    for r in 0..MR {
                        simd.prefetch(pre.at(self.row + row + r, self.col));
                    }
                }
                _ => {}
            }
        }
    }

    /// Adds the bias and writes the sums of rows `row .. row + MR` from the first on.
    ///
    /// # Safety
    /// The target must have these rows, and bias and target two vectors of columns.
    #[inline(always)]
    pub(super) unsafe fn store<V: Simd, const MR: usize>(&self, simd: V, row: usize, mut acc: [[V::F32; 2]; MR]) {
        // SAFETY: the caller's promise.
        unsafe {
            if let Some(bias) = self.bias {
                let bias = [simd.load_f32(bias), simd.load_f32(bias.add(V::LANES))];
                for acc in &mut acc {
                    *acc = [simd.add(acc[0], bias[0]), simd.add(acc[1], bias[1])];
                }
            }
            let row = self.row + row;
            match self.target {
                Target::F32(out) => {
                    for (r, acc) in acc.iter().enumerate() {
                        for (v, &sum) in acc.iter().enumerate() {
                            simd.store_f32(out.at(row + r, self.col + v * V::LANES), sum);
                        }
                    }
                }
                Target::SumF32(to, out) => {
                    for (r, acc) in acc.iter().enumerate() {
                        for (v, &sum) in acc.iter().enumerate() {
                            let col = self.col + v * V::LANES;
                            simd.store_f32(out.at(row + r, col), simd.add(simd.load_f32(to.at(row + r, col)), sum));
                        }
                    }
                }
                Target::Store(out) => {
                    for (r, acc) in acc.iter().enumerate() {
                        for (v, &sum) in acc.iter().enumerate() {
                            simd.store(out.at(row + r, self.col + v * V::LANES), sum);
                        }
                    }
                }
                Target::Gelu(pre, out) => {
                    for (r, acc) in acc.iter().enumerate() {
                        for (v, &sum) in acc.iter().enumerate() {
                            let sum = simd.round::<S>(sum);
                            simd.store(pre.at(row + r, self.col + v * V::LANES), sum);
                            simd.store(out.at(row + r, self.col + v * V::LANES), gelu_lanes::<V, S>(simd, sum));
                        }
                    }
                }
                Target::GeluBackward(pre, d, out) => {
                    for (r, acc) in acc.iter().enumerate() {
                        for (v, &sum) in acc.iter().enumerate() {
                            let col = self.col + v * V::LANES;
                            let (y, dx) = gelu_slope_lanes::<V, S>(simd, simd.load(pre.at(row + r, col)), sum);
                            simd.store(d.at(row + r, col), dx);
                            simd.store(out.at(row + r, col), y);
                        }
                    }
                }
            }
        }
    }
}
