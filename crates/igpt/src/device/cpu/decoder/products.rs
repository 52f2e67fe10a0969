//! Matrix products of a decode step: a few rows by all weights, in parallel over output columns.

use igpt_kernels::matmul::{Out, Panels, QuantizedPanels, QuantizedRows, matmul, matmul_int8};
use igpt_kernels::pool::{Parts, Pool, chunks, columns};
use igpt_kernels::{Isa, LANE_PAD, MatMut, MatRef, Scalar};

use crate::device::cpu::forward::rms_norm;
use crate::device::cpu::model::{BlockOffsets, LinearParams, Model, ParamOffsets};

/// 8-bit weights of all products.
#[derive(Debug)]
pub(crate) struct QuantizedWeights {
    /// In the order of [`BlockOffsets::products`].
    blocks: Vec<[QuantizedPanels; 4]>,
    head: QuantizedPanels,
}

impl QuantizedWeights {
    pub(crate) fn new<S: Scalar>(model: &Model<S>, pool: &Pool) -> Self {
        let ParamOffsets { blocks, head, .. } = &*model.places;
        let products: Vec<&LinearParams> = blocks.iter().flat_map(BlockOffsets::products).chain([head]).collect();
        let mut quantized: Vec<Option<QuantizedPanels>> = vec![None; products.len()];
        pool.for_each(chunks(&mut quantized, 1), |i, quantized| {
            let LinearParams { weight, rows, cols, .. } = products[i];
            let weights = MatRef::new(&model.weights[weight.clone()], *rows, *cols);
            // The output matrix is stored transposed.
            quantized[0] = Some(QuantizedPanels::new(weights, i + 1 == products.len()));
        });
        let mut quantized = quantized.into_iter().flatten();
        let mut next = || quantized.next().expect("every product was quantized");
        let blocks = blocks.iter().map(|_| [(); 4].map(|()| next())).collect();
        Self { blocks, head: next() }
    }
}

/// Weights of a product (right operand), in one of the two formats.
#[derive(Clone, Copy)]
pub(super) enum Right<'a, S: Scalar> {
    Native(&'a Panels<S>),
    Int8(&'a QuantizedPanels),
}

impl<S: Scalar> Right<'_, S> {
    fn k(self) -> usize {
        match self {
            Right::Native(panels) => panels.k(),
            Right::Int8(panels) => panels.k(),
        }
    }

    fn n(self) -> usize {
        match self {
            Right::Native(panels) => panels.n(),
            Right::Int8(panels) => panels.n(),
        }
    }
}

/// Context that all products of a step share.
pub(super) struct Products<'a, S: Scalar> {
    pub(super) isa: Isa,
    pub(super) pool: &'a Pool,
    pub(super) model: &'a Model<S>,
    /// 8-bit weights, if they are used.
    pub(super) quantized: Option<&'a QuantizedWeights>,
    /// 16-bit left operand for products with 8-bit weights.
    pub(super) rows: &'a mut QuantizedRows,
    /// Number of rows of every product.
    pub(super) m: usize,
}

impl<'a, S: Scalar> Products<'a, S> {
    /// Returns the weights of block `l` in the order of [`BlockOffsets::products`].
    pub(super) fn block(&self, l: usize) -> [Right<'a, S>; 4] {
        match self.quantized {
            Some(weights) => weights.blocks[l].each_ref().map(Right::Int8),
            None => self.model.forward.blocks[l].products().map(Right::Native),
        }
    }

    pub(super) fn norm(&self, x: &[f32], gain: &std::ops::Range<usize>, y: &mut [S], rstd: &mut [f32]) {
        let (m, c) = (self.m, self.model.dims.channels);
        let (x, y) = (MatRef::new(&x[..m * c], m, c), MatMut::new(&mut y[..m * c], m, c));
        rms_norm(self.isa, self.model, x, gain, y, &mut rstd[..m]);
    }

    pub(super) fn store(&mut self, a: &[S], b: Right<'_, S>, place: &LinearParams, out: &mut [S]) {
        let (m, strip, pool) = (self.m, self.strip(b), self.pool);
        let left = self.left(a, b);
        let out = MatMut::new(&mut out[..m * b.n()], m, b.n());
        stream(pool, columns(out, strip), |i, out| left.product(b, Some(place), i * strip, Out::Store(out)));
    }

    pub(super) fn add(&mut self, a: &[S], b: Right<'_, S>, place: &LinearParams, out: &mut [f32]) {
        let (m, strip, pool) = (self.m, self.strip(b), self.pool);
        let left = self.left(a, b);
        let out = MatMut::new(&mut out[..m * b.n()], m, b.n());
        stream(pool, columns(out, strip), |i, out| left.product(b, Some(place), i * strip, Out::AddF32(out)));
    }

    pub(super) fn gelu(&mut self, a: &[S], b: Right<'_, S>, place: &LinearParams, pre: &mut [S], out: &mut [S]) {
        let (m, n, strip, pool) = (self.m, b.n(), self.strip(b), self.pool);
        let left = self.left(a, b);
        let parts = (
            columns(MatMut::new(&mut pre[..m * n], m, n), strip),
            columns(MatMut::new(&mut out[..m * n], m, n), strip),
        );
        stream(pool, parts, |i, (pre, out)| left.product(b, Some(place), i * strip, Out::Gelu { pre, out }));
    }

    pub(super) fn logits(&mut self, a: &[S], out: &mut [f32]) {
        let b = self.quantized.map_or(Right::Native(&self.model.forward.head), |weights| Right::Int8(&weights.head));
        let (m, strip, pool) = (self.m, self.strip(b), self.pool);
        let left = self.left(a, b);
        let out = MatMut::new(&mut out[..m * b.n()], m, b.n());
        stream(pool, columns(out, strip), |i, out| left.product(b, None, i * strip, Out::F32(out)));
    }

    /// Returns the left operand in the format that `b` requires.
    fn left<'l>(&'l mut self, a: &'l [S], b: Right<'_, S>) -> Left<'l, S> {
        let a = MatRef::new(&a[..self.m * b.k()], self.m, b.k());
        if let Right::Int8(_) = b {
            self.rows.fill(self.isa, a);
        }
        Left { isa: self.isa, model: self.model, a, rows: self.rows }
    }

    /// Number of output columns per piece of work: a few pieces per thread. The split does not change the bits.
    fn strip(&self, b: Right<'_, S>) -> usize {
        let panels = b.n() / LANE_PAD;
        panels.div_ceil(8 * self.pool.threads()).max(1) * LANE_PAD
    }
}

/// Calls [`Pool::stream`] without scratch.
fn stream<P: Parts>(pool: &Pool, parts: P, f: impl Fn(usize, P::Part) + Sync) {
    pool.stream(parts, &mut vec![(); pool.threads()], |index, part, ()| f(index, part));
}

/// Left operand of a product: the rows.
struct Left<'a, S: Scalar> {
    isa: Isa,
    model: &'a Model<S>,
    a: MatRef<'a, S>,
    rows: &'a QuantizedRows,
}

impl<S: Scalar> Left<'_, S> {
    /// Computes the columns of a product from `first` on; `out` determines their number.
    fn product(&self, b: Right<'_, S>, place: Option<&LinearParams>, first: usize, out: Out<'_, S>) {
        let columns = first..first + out.cols();
        let bias = place.and_then(|place| self.model.bias(place)).map(|bias| &bias[columns.clone()]);
        match b {
            Right::Native(panels) => {
                let panels = panels.panels(columns.start / LANE_PAD..columns.end / LANE_PAD);
                matmul(self.isa, self.a, panels, bias, out);
            }
            Right::Int8(panels) => matmul_int8(self.isa, self.rows, panels, columns, bias, out),
        }
    }
}
