//! Drawing images pixel by pixel with a KV cache.
//!
//! A step multiplies a few rows by every weight once, so it is bound by reading memory: the products are cut by
//! columns, attention by (row, head). Each row's numbers depend on that row alone.

use std::sync::Arc;

use igpt_kernels::attention::{AttentionScratch, KvShape};
use igpt_kernels::matmul::{Out, Panels, matmul};
use igpt_kernels::pool::{Pool, columns};
use igpt_kernels::{Buffer, Isa, LANE_PAD, MatMut, MatRef, Scalar};

use super::forward::{Cpu, Shape, forward, head_views, rms_norm};
use super::model::{Model, Product};
use super::workspace::Workspace;
use crate::model::Decoder;
use crate::{Error, Result};

/// Several images being drawn with one copy of the weights.
#[derive(Debug)]
pub(crate) struct CpuDecoder<S: Scalar> {
    isa: Isa,
    pool: Arc<Pool>,
    model: Arc<Model<S>>,
    kv: KvShape,
    /// Keys and values, (L, rows, NH) caches of one head each.
    cache: Buffer<u32>,
    /// One per thread.
    scratch: Vec<AttentionScratch>,
    /// Tokens that each row has consumed, sos included.
    consumed: Vec<usize>,
    buffers: Buffers<S>,
    /// For given tokens; made when first needed.
    prefill: Option<Workspace<S>>,
}

/// Activations of one position of every row.
#[derive(Debug)]
struct Buffers<S: Scalar> {
    x: Buffer<f32>,
    norm: Buffer<S>,
    qkv: Buffer<S>,
    attn: Buffer<S>,
    fc: Buffer<S>,
    inner: Buffer<S>,
    logits: Buffer<f32>,
    rstd: Buffer<f32>,
}

impl<S: Scalar> CpuDecoder<S> {
    pub(crate) fn new(isa: Isa, pool: Arc<Pool>, model: Arc<Model<S>>, rows: usize) -> Self {
        let dims = model.dims;
        let kv = KvShape::new(dims.n_ctx, dims.head);
        let buffers = Buffers {
            x: Buffer::zeroed(rows * dims.channels),
            norm: Buffer::zeroed(rows * dims.channels),
            qkv: Buffer::zeroed(rows * dims.qkv),
            attn: Buffer::zeroed(rows * dims.heads),
            fc: Buffer::zeroed(rows * dims.inner),
            inner: Buffer::zeroed(rows * dims.inner),
            logits: Buffer::zeroed(rows * dims.vocab),
            rstd: Buffer::zeroed(rows),
        };
        let scratch = (0..pool.threads()).map(|_| AttentionScratch::for_decoding(kv)).collect();
        let cache = Buffer::zeroed(dims.n_layer * rows * dims.n_head * kv.units::<S>());
        Self { isa, pool, model, kv, cache, scratch, consumed: vec![0; rows], buffers, prefill: None }
    }

    fn check_row(&self, row: usize) -> Result<()> {
        if row < self.consumed.len() {
            return Ok(());
        }
        Err(Error::Invalid(format!("row {row} of a decoder of {} rows", self.consumed.len())))
    }

    fn check_token(&self, token: u16) -> Result<()> {
        let n_vocab = self.model.dims.n_vocab;
        if (token as usize) < n_vocab {
            return Ok(());
        }
        Err(Error::Mismatch(format!("token {token} is not in the model's palette of {n_vocab} colours")))
    }

    /// Runs all but the last of `ids` through the network in one pass and keeps their keys and values.
    fn fill_cache(&mut self, row: usize, ids: &[u32]) {
        let (model, kv, rows) = (self.model.clone(), self.kv, self.consumed.len());
        let dims = model.dims;
        let work = self.prefill.get_or_insert_with(|| Workspace::new(&dims, 1, dims.n_ctx, self.pool.threads(), false));
        let shape = Shape { images: 1, len: ids.len() };
        work.ids[..ids.len()].copy_from_slice(ids);
        let cache = &mut self.cache;
        let cpu = Cpu { isa: self.isa, pool: &self.pool };
        forward(cpu, &model, work, shape, dims.n_layer, |l, _, layer, _| {
            let Some(layer) = layer else { return };
            let heads = &mut cache[(l * rows + row) * dims.n_head * kv.units::<S>()..][..dims.n_head * kv.units::<S>()];
            for (head, cache) in heads.chunks_exact_mut(kv.units::<S>()).enumerate() {
                let [_, k, v] = head_views(&model, &layer.qkv, shape, 0, head);
                for t in 0..shape.len {
                    kv.append(cache, t, k.row(t), v.row(t));
                }
            }
        });
        self.consumed[row] = ids.len();
    }

    /// Feeds one input id to each row and leaves the logits of the next pixels in the buffers.
    fn advance(&mut self, inputs: &[(usize, u32)]) {
        let (isa, model, kv, rows) = (self.isa, &*self.model, self.kv, self.consumed.len());
        let dims = &model.dims;
        let (m, c) = (inputs.len(), dims.channels);
        let Buffers { x, norm, qkv, attn, fc, inner, logits, rstd } = &mut self.buffers;
        let products = Products { isa, pool: &self.pool, model, m };

        let (wte, wpe) = (model.wte(), model.wpe());
        for (x, &(row, id)) in x.chunks_exact_mut(c).zip(inputs) {
            let (token, position) = (wte.row(id as usize), wpe.row(self.consumed[row]));
            for ((x, token), position) in x.iter_mut().zip(token).zip(position) {
                *x = token + position;
            }
        }
        for (l, places) in model.places.blocks.iter().enumerate() {
            let panels = &model.forward.blocks[l];
            products.norm(x, &places.ln_1, norm, rstd);
            products.store(norm, &panels.attn, &places.attn, qkv);
            let layer =
                &mut self.cache[l * rows * dims.n_head * kv.units::<S>()..][..rows * dims.n_head * kv.units::<S>()];
            for (input, &(row, _)) in inputs.iter().enumerate() {
                let qkv = &qkv[input * dims.qkv..][..dims.qkv];
                for head in 0..dims.n_head {
                    let at = |which: usize| &qkv[(which * dims.n_head + head) * dims.head..][..dims.head];
                    let cache = &mut layer[(row * dims.n_head + head) * kv.units::<S>()..][..kv.units::<S>()];
                    kv.append(cache, self.consumed[row], at(1), at(2));
                }
            }
            let (layer, consumed, qkv) = (&*layer, &self.consumed, &*qkv);
            let used = MatMut::strided(&mut attn[..m * dims.heads], m, dims.n_head * dims.head, dims.heads);
            let parts = igpt_kernels::pool::grid(used, 1, dims.head);
            self.pool.each(parts, &mut self.scratch, |i, mut out, scratch| {
                let (input, head) = (i / dims.n_head, i % dims.n_head);
                let row = inputs[input].0;
                let q = &qkv[input * dims.qkv + head * dims.head..][..dims.head];
                let cache = &layer[(row * dims.n_head + head) * kv.units::<S>()..][..kv.units::<S>()];
                kv.attend(isa, dims.scale, cache, q, consumed[row] + 1, out.row_mut(0), scratch);
            });
            products.add(attn, &panels.proj, &places.proj, x);
            products.norm(x, &places.ln_2, norm, rstd);
            products.gelu(norm, &panels.fc, &places.fc, fc, inner);
            products.add(inner, &panels.out, &places.out, x);
        }
        products.norm(x, &model.places.ln_f, norm, rstd);
        products.logits(norm, logits);
        for &(row, _) in inputs {
            self.consumed[row] += 1;
        }
    }
}

/// The products of a step: `m` rows by all weights, cut by columns.
struct Products<'a, S: Scalar> {
    isa: Isa,
    pool: &'a Pool,
    model: &'a Model<S>,
    m: usize,
}

impl<S: Scalar> Products<'_, S> {
    fn norm(&self, x: &[f32], gain: &std::ops::Range<usize>, y: &mut [S], rstd: &mut [f32]) {
        let (m, c) = (self.m, self.model.dims.channels);
        let (x, y) = (MatRef::new(&x[..m * c], m, c), MatMut::new(&mut y[..m * c], m, c));
        rms_norm(self.isa, self.model, x, gain, y, &mut rstd[..m]);
    }

    fn store(&self, a: &[S], b: &Panels<S>, place: &Product, out: &mut [S]) {
        let out = MatMut::new(&mut out[..self.m * b.n()], self.m, b.n());
        let strip = self.strip(b);
        self.pool.for_each(columns(out, strip), |i, out| self.product(a, b, Some(place), i * strip, Out::Store(out)));
    }

    fn add(&self, a: &[S], b: &Panels<S>, place: &Product, out: &mut [f32]) {
        let out = MatMut::new(&mut out[..self.m * b.n()], self.m, b.n());
        let strip = self.strip(b);
        self.pool.for_each(columns(out, strip), |i, out| self.product(a, b, Some(place), i * strip, Out::AddF32(out)));
    }

    fn gelu(&self, a: &[S], b: &Panels<S>, place: &Product, pre: &mut [S], out: &mut [S]) {
        let (m, n, strip) = (self.m, b.n(), self.strip(b));
        let parts = (
            columns(MatMut::new(&mut pre[..m * n], m, n), strip),
            columns(MatMut::new(&mut out[..m * n], m, n), strip),
        );
        self.pool.for_each(parts, |i, (pre, out)| self.product(a, b, Some(place), i * strip, Out::Gelu { pre, out }));
    }

    fn logits(&self, a: &[S], out: &mut [f32]) {
        let b = &self.model.forward.head;
        let out = MatMut::new(&mut out[..self.m * b.n()], self.m, b.n());
        let strip = self.strip(b);
        self.pool.for_each(columns(out, strip), |i, out| self.product(a, b, None, i * strip, Out::F32(out)));
    }

    /// The columns from `first` on of a product; `out` says how many.
    fn product(&self, a: &[S], b: &Panels<S>, place: Option<&Product>, first: usize, out: Out<'_, S>) {
        let a = MatRef::new(&a[..self.m * b.k()], self.m, b.k());
        let bias = place.and_then(|place| self.model.bias(place)).map(|bias| &bias[first..first + out.cols()]);
        let panels = first / LANE_PAD..(first + out.cols()) / LANE_PAD;
        matmul(self.isa, a, b.panels(panels), bias, out);
    }

    /// Columns of one piece: a few pieces a thread. Cutting by columns changes no bits.
    fn strip(&self, b: &Panels<S>) -> usize {
        let panels = b.n() / LANE_PAD;
        panels.div_ceil(4 * self.pool.threads()).max(1) * LANE_PAD
    }
}

impl<S: Scalar> Decoder for CpuDecoder<S> {
    fn rows(&self) -> usize {
        self.consumed.len()
    }

    fn start(&mut self, row: usize, given: &[u16], logits: &mut [f32]) -> Result<()> {
        self.check_row(row)?;
        given.iter().try_for_each(|&token| self.check_token(token))?;
        let n_ctx = self.model.dims.n_ctx;
        if given.len() >= n_ctx {
            return Err(Error::Invalid(format!(
                "{} tokens were given, but an image has {n_ctx}: nothing is left to draw",
                given.len()
            )));
        }
        self.consumed[row] = 0;
        let sos = self.model.dims.n_vocab as u32;
        let last = match given.split_last() {
            Some((&last, before)) => {
                let ids: Vec<u32> = std::iter::once(sos).chain(before.iter().map(|&token| token as u32)).collect();
                self.fill_cache(row, &ids);
                last as u32
            }
            None => sos,
        };
        self.advance(&[(row, last)]);
        logits.copy_from_slice(&self.buffers.logits[..self.model.dims.n_vocab]);
        Ok(())
    }

    fn step(&mut self, inputs: &[(usize, u16)], logits: &mut [f32]) -> Result<()> {
        let (n_vocab, vocab, n_ctx) = (self.model.dims.n_vocab, self.model.dims.vocab, self.model.dims.n_ctx);
        for (i, &(row, token)) in inputs.iter().enumerate() {
            self.check_row(row)?;
            self.check_token(token)?;
            if self.consumed[row] == 0 || self.consumed[row] >= n_ctx {
                return Err(Error::Invalid(format!("row {row} is not in the middle of an image")));
            }
            if inputs[..i].iter().any(|(other, _)| *other == row) {
                return Err(Error::Invalid(format!("row {row} was fed twice in one step")));
            }
        }
        let inputs: Vec<_> = inputs.iter().map(|&(row, token)| (row, token as u32)).collect();
        self.advance(&inputs);
        for (out, padded) in logits.chunks_exact_mut(n_vocab).zip(self.buffers.logits.chunks_exact(vocab)) {
            out.copy_from_slice(&padded[..n_vocab]);
        }
        Ok(())
    }
}
