//! Drawing of images pixel by pixel with a KV cache.
//!
//! A decode step multiplies a few rows by every weight once, so memory bandwidth bounds it. Decoding parallelises
//! matrix products over output columns, and attention over 128-position blocks of the KV cache, merged by log-sum-exp
//! (as in Flash-Decoding). Each row's numbers depend on that row alone.

mod cache;
mod products;

use std::sync::Arc;

use igpt_kernels::attention::KvShape;
use igpt_kernels::matmul::QuantizedRows;
use igpt_kernels::pool::Pool;
use igpt_kernels::{Buffer, Isa, MatMut, MatRef, Scalar};

use self::cache::Cache;
use self::products::Products;
pub(crate) use self::products::QuantizedWeights;
use super::context::{Cpu, Shape};
use super::forward::forward;
use super::model::Model;
use super::workspace::{Passes, Workspace};
use crate::device::Decoder;
use crate::{Error, Result};

/// Decoder of several images, which share one copy of the weights.
#[derive(Debug)]
pub(crate) struct CpuDecoder<S: Scalar> {
    isa: Isa,
    pool: Arc<Pool>,
    model: Arc<Model<S>>,
    /// 8-bit weights, if they are used.
    quantized: Option<Arc<QuantizedWeights>>,
    cache: Cache,
    /// Number of tokens that each row has consumed, sos included.
    consumed: Vec<usize>,
    buffers: Buffers<S>,
    /// Workspace of the prefill; allocated when first needed.
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
    /// Left operands of products with 8-bit weights.
    rows: QuantizedRows,
}

impl<S: Scalar> CpuDecoder<S> {
    /// Returns a decoder for `rows` images. With `quantized` weights, the KV cache has 8 bits, too.
    pub(crate) fn new(
        isa: Isa,
        pool: Arc<Pool>,
        model: Arc<Model<S>>,
        quantized: Option<Arc<QuantizedWeights>>,
        rows: usize,
    ) -> Self {
        let (dims, int8) = (model.dims, quantized.is_some());
        let buffers = Buffers {
            x: Buffer::zeroed(rows * dims.channels),
            norm: Buffer::zeroed(rows * dims.channels),
            qkv: Buffer::zeroed(rows * dims.qkv),
            attn: Buffer::zeroed(rows * dims.heads),
            fc: Buffer::zeroed(rows * dims.inner),
            inner: Buffer::zeroed(rows * dims.inner),
            logits: Buffer::zeroed(rows * dims.vocab),
            rstd: Buffer::zeroed(rows),
            rows: QuantizedRows::new(rows, if int8 { dims.channels.max(dims.inner).max(dims.heads) } else { 0 }),
        };
        let shape = KvShape::new(dims.n_head, dims.head);
        let cache = Cache::new::<S>(shape, dims.n_layer, rows, dims.n_ctx, pool.threads(), int8);
        Self { isa, pool, model, quantized, cache, consumed: vec![0; rows], buffers, prefill: None }
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

    fn check_room(&self, room: usize, rows: usize) -> Result<()> {
        let wanted = rows * self.model.dims.n_vocab;
        if room == wanted {
            return Ok(());
        }
        Err(Error::Mismatch(format!("room for {room} logits was given, but there are {wanted}")))
    }

    /// Prefill: runs `ids` through the network in one pass and stores their keys and values.
    fn fill_cache(&mut self, row: usize, ids: &[u32]) {
        let model = self.model.clone();
        let dims = model.dims;
        let work = self
            .prefill
            .get_or_insert_with(|| Workspace::new(&dims, 1, dims.n_ctx, self.pool.threads(), Passes::Forward));
        let shape = Shape { images: 1, len: ids.len() };
        work.ids[..ids.len()].copy_from_slice(ids);
        let cache = &mut self.cache;
        let cpu = Cpu { isa: self.isa, pool: &self.pool };
        forward(cpu, &model, work, shape, dims.n_layer, |l, _, layer, _| {
            let Some(layer) = layer else { return };
            let heads = dims.n_head * dims.head;
            for (t, qkv) in layer.qkv.chunks_exact(dims.qkv).take(shape.len).enumerate() {
                cache.append(cpu.isa, l, row, t, [&qkv[heads..2 * heads], &qkv[2 * heads..3 * heads]]);
            }
        });
        self.consumed[row] = ids.len();
    }

    /// Feeds one input id to each row and leaves the logits of the next pixels in the buffers.
    fn advance(&mut self, inputs: &[(usize, u32)]) {
        let (cpu, model) = (Cpu { isa: self.isa, pool: &self.pool }, &*self.model);
        let dims = &model.dims;
        let (m, c) = (inputs.len(), dims.channels);
        let Buffers { x, norm, qkv, attn, fc, inner, logits, rstd, rows: left } = &mut self.buffers;
        let quantized = self.quantized.as_deref();
        let mut products = Products { isa: cpu.isa, pool: cpu.pool, model, quantized, rows: left, m };

        let positions: Vec<_> = inputs.iter().map(|&(row, _)| (row, self.consumed[row])).collect();
        let (wte, wpe) = (model.wte(), model.wpe());
        for (x, &(row, id)) in x.chunks_exact_mut(c).zip(inputs) {
            let (token, position) = (wte.row(id as usize), wpe.row(self.consumed[row]));
            for ((x, token), position) in x.iter_mut().zip(token).zip(position) {
                *x = token + position;
            }
        }
        for (l, places) in model.places.blocks.iter().enumerate() {
            let [attn_weights, proj, fc_weights, out] = products.block(l);
            products.norm(x, &places.ln_1, norm, rstd);
            products.store(norm, attn_weights, &places.attn, qkv);
            let qkv = MatRef::new(&qkv[..m * dims.qkv], m, dims.qkv);
            let seen = MatMut::strided(&mut attn[..m * dims.heads], m, dims.n_head * dims.head, dims.heads);
            self.cache.attend(cpu, dims.scale, l, &positions, qkv, seen);
            products.add(attn, proj, &places.proj, x);
            products.norm(x, &places.ln_2, norm, rstd);
            products.gelu(norm, fc_weights, &places.fc, fc, inner);
            products.add(inner, out, &places.out, x);
        }
        products.norm(x, &model.places.ln_f, norm, rstd);
        products.logits(norm, logits);
        for &(row, _) in inputs {
            self.consumed[row] += 1;
        }
    }
}

impl<S: Scalar> Decoder for CpuDecoder<S> {
    fn rows(&self) -> usize {
        self.consumed.len()
    }

    fn start(&mut self, row: usize, given: &[u16], logits: &mut [f32]) -> Result<()> {
        self.check_row(row)?;
        self.check_room(logits.len(), 1)?;
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

    fn copy(&mut self, from: usize, to: usize) -> Result<()> {
        self.check_row(from)?;
        self.check_row(to)?;
        self.cache.copy(from, to, self.consumed[from]);
        self.consumed[to] = self.consumed[from];
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
        self.check_room(logits.len(), inputs.len())?;
        let inputs: Vec<_> = inputs.iter().map(|&(row, token)| (row, token as u32)).collect();
        self.advance(&inputs);
        for (out, padded) in logits.chunks_exact_mut(n_vocab).zip(self.buffers.logits.chunks_exact(vocab)) {
            out.copy_from_slice(&padded[..n_vocab]);
        }
        Ok(())
    }
}
