//! Memory of an engine: every activation and gradient buffer, allocated once.

use igpt_kernels::attention::AttentionScratch;
use igpt_kernels::{Buffer, Scalar, matmul};

use super::dims::Dims;
use super::model::StreamedPanels;

/// Scratch memory of one thread; rows are those of a piece ([`Dims::rows`]).
#[derive(Debug)]
pub(crate) struct Scratch<S: Scalar> {
    /// Normed rows or their gradient, (rows, C).
    pub(crate) norm: Buffer<S>,
    /// The rounded gradient of rows of the residual stream, (rows, C).
    pub(crate) stream: Buffer<S>,
    /// 1/rms of those rows, (rows).
    pub(crate) rstd: Buffer<f32>,
    /// Rows of the MLP's hidden layer after the activation, or their gradient before it, (rows, inner).
    pub(crate) inner: Buffer<S>,
    /// Logits of some rows, (rows, V).
    pub(crate) logits: Buffer<f32>,
    /// Normed rows in f32 for pooled features, (1, C).
    pub(crate) feature: Buffer<f32>,
    /// Scratch of the attention kernels.
    pub(crate) attention: AttentionScratch,
    /// Packed columns for a weight gradient.
    pub(crate) columns: matmul::TnScratch,
}

/// Activations of one block that the backward pass needs.
#[derive(Debug)]
pub(crate) struct LayerActivations<S: Scalar> {
    /// Fused q, k, v, (rows, qkv).
    pub(crate) qkv: Buffer<S>,
    /// Attention's output, heads side by side, (rows, heads).
    pub(crate) attn: Buffer<S>,
    /// Attention's log-sum-exp in log2 units, (images, NH, T).
    pub(crate) lse: Buffer<f32>,
    /// The residual stream between attention and MLP, (rows, C).
    pub(crate) mid: Buffer<f32>,
    /// MLP's hidden layer before its activation, (rows, inner).
    pub(crate) fc: Buffer<S>,
}

/// Buffers of the backward pass, used by one block after the other.
#[derive(Debug)]
pub(crate) struct Gradients<S: Scalar> {
    /// Gradient of the residual stream, (rows, C).
    pub(crate) dx: Buffer<f32>,
    /// Rounded copy of the gradient above the block, (rows, C).
    pub(crate) dout: Buffer<S>,
    /// Gradient of the logits, (rows, V).
    pub(crate) dlogits: Buffer<S>,
    /// Recomputed output of `ln_2`, (rows, C).
    pub(crate) norm_mid: Buffer<S>,
    /// Recomputed hidden layer of the MLP after its activation, (rows, inner).
    pub(crate) inner: Buffer<S>,
    /// Gradient of attention's output, (rows, heads).
    pub(crate) dattn: Buffer<S>,
    /// Gradient of q, k, v, (rows, qkv).
    pub(crate) dqkv: Buffer<S>,
    /// Recomputed output of `ln_1` (at first of `ln_f`), (rows, C); kept for the block below.
    pub(crate) norm_late: Buffer<S>,
    /// Right operands of the weight gradients, packed along the tokens.
    pub(crate) packed: PackedTokens,
    /// Gain gradients of each piece of rows, (pieces, C).
    pub(crate) dgain: Buffer<f32>,
}

/// Right operands of the weight gradients.
#[derive(Debug)]
pub(crate) struct PackedTokens {
    /// Gradient of the MLP's output, C wide.
    pub(crate) out: Buffer<u32>,
    /// Gradient of the MLP's hidden layer, inner wide.
    pub(crate) fc: Buffer<u32>,
    /// Gradient of attention's projection, C wide.
    pub(crate) proj: Buffer<u32>,
    /// Gradient of q, k, v, qkv wide (at first `ln_f`'s output, C wide); kept for the block below.
    pub(crate) late: Buffer<u32>,
}

/// All buffers for up to `images` sequences of `len` tokens.
#[derive(Debug)]
pub(crate) struct Workspace<S: Scalar> {
    /// Number of sequences that it has room for.
    pub(crate) images: usize,
    /// Residual stream before each block and after the last; two alternating buffers for a forward pass alone.
    pub(crate) residual: Vec<Buffer<f32>>,
    /// Activations, one per block; a single one for a forward pass alone or with activation checkpointing.
    pub(crate) layers: Vec<LayerActivations<S>>,
    /// Nats of each token, (rows).
    pub(crate) losses: Buffer<f32>,
    /// Input ids, (rows): tokens, and n_vocab for sos.
    pub(crate) ids: Vec<u32>,
    /// Buffers of the backward pass; only for training.
    pub(crate) gradients: Option<Gradients<S>>,
    /// Blocks that are packed when they are needed; only with streamed weights.
    pub(crate) one_block: Option<StreamedPanels<S>>,
    /// Scratch memory, one per thread.
    pub(crate) scratch: Vec<Scratch<S>>,
}

/// Passes that a workspace is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passes {
    /// Forward only.
    Forward,
    /// Forward and backward, with the activations of all blocks kept.
    Keeping,
    /// Forward and backward, with activation checkpointing: the backward pass recomputes each block's activations.
    /// The bits are the same, for a third more arithmetic and a fraction of the memory.
    Recomputing,
}

impl Passes {
    /// Number of buffers of the residual stream, and of blocks whose activations are kept.
    fn kept(self, n_layer: usize) -> (usize, usize) {
        match self {
            Passes::Forward => (2, 1),
            Passes::Keeping => (n_layer + 1, n_layer),
            Passes::Recomputing => (n_layer + 1, 1),
        }
    }
}

impl<S: Scalar> Workspace<S> {
    /// Bytes of the activations, with their gradients, of `images` sequences of `len` tokens.
    pub(crate) fn activation_bytes(dims: &Dims, images: usize, len: usize, passes: Passes) -> usize {
        let (rows, f32s, scalars) = (images * len, size_of::<f32>(), size_of::<S>());
        let (c, inner, heads, qkv) = (dims.channels, dims.inner, dims.heads, dims.qkv);
        let (streams, layers) = passes.kept(dims.n_layer);
        let layer = (qkv + heads + inner) * scalars + (dims.n_head + c) * f32s;
        let forward = rows * (streams * c * f32s + layers * layer + f32s + size_of::<u32>());
        if passes == Passes::Forward {
            return forward;
        }
        let gradients = c * f32s + (3 * c + dims.vocab + inner + heads + qkv) * scalars;
        let units = rows / dims.span::<S>() * dims.span_units::<S>();
        let packed = units * (2 * c + inner + qkv.max(c)) * size_of::<u32>();
        forward + rows * gradients + packed + rows / dims.piece() * c * f32s
    }

    /// Bytes of scratch memory per thread.
    pub(crate) fn scratch_bytes(dims: &Dims, images: usize, len: usize, passes: Passes) -> usize {
        let row = (2 * dims.channels + dims.inner) * size_of::<S>() + (1 + dims.vocab) * size_of::<f32>();
        let attention = AttentionScratch::new::<S>(len, dims.head).bytes();
        let span = dims.span::<S>();
        let columns = match passes {
            Passes::Forward => 0,
            _ => matmul::TnScratch::bytes::<S>(dims.tiles, dims.gradient_rows(), span, images * len / span),
        };
        dims.rows() * row + dims.channels * size_of::<f32>() + attention + columns
    }

    pub(crate) fn new(dims: &Dims, images: usize, len: usize, threads: usize, passes: Passes) -> Self {
        let rows = images * len;
        let (c, inner) = (dims.channels, dims.inner);
        let layer = || LayerActivations {
            qkv: Buffer::zeroed(rows * dims.qkv),
            attn: Buffer::zeroed(rows * dims.heads),
            lse: Buffer::zeroed(rows * dims.n_head),
            mid: Buffer::zeroed(rows * c),
            fc: Buffer::zeroed(rows * inner),
        };
        let units = rows / dims.span::<S>() * dims.span_units::<S>();
        let packed = || PackedTokens {
            out: Buffer::zeroed(units * c),
            fc: Buffer::zeroed(units * inner),
            proj: Buffer::zeroed(units * c),
            late: Buffer::zeroed(units * dims.qkv.max(c)),
        };
        let gradients = || Gradients {
            dx: Buffer::zeroed(rows * c),
            dout: Buffer::zeroed(rows * c),
            dlogits: Buffer::zeroed(rows * dims.vocab),
            norm_mid: Buffer::zeroed(rows * c),
            inner: Buffer::zeroed(rows * inner),
            dattn: Buffer::zeroed(rows * dims.heads),
            dqkv: Buffer::zeroed(rows * dims.qkv),
            norm_late: Buffer::zeroed(rows * c),
            packed: packed(),
            dgain: Buffer::zeroed(rows / dims.piece() * c),
        };
        let scratch = || Scratch {
            norm: Buffer::zeroed(dims.rows() * c),
            stream: Buffer::zeroed(dims.rows() * c),
            rstd: Buffer::zeroed(dims.rows()),
            inner: Buffer::zeroed(dims.rows() * inner),
            logits: Buffer::zeroed(dims.rows() * dims.vocab),
            feature: Buffer::zeroed(c),
            attention: AttentionScratch::new::<S>(len, dims.head),
            columns: matmul::TnScratch::default(),
        };
        let (streams, layers) = passes.kept(dims.n_layer);
        Self {
            images,
            residual: (0..streams).map(|_| Buffer::zeroed(rows * c)).collect(),
            layers: (0..layers).map(|_| layer()).collect(),
            losses: Buffer::zeroed(rows),
            ids: vec![0; rows],
            gradients: (passes != Passes::Forward).then(gradients),
            one_block: None,
            scratch: (0..threads).map(|_| scratch()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use igpt_kernels::Isa;

    use super::*;
    use crate::image::ImageSize;
    use crate::model::ModelConfig;

    fn bytes<T: bytemuck::Pod>(buffers: &[&Buffer<T>]) -> usize {
        buffers.iter().map(|buffer| size_of::<T>() * buffer.len()).sum()
    }

    fn claims<S: Scalar>(size: ImageSize, passes: Passes) {
        let dims = Dims::new::<S>(&ModelConfig::new(size, 12, 40, 3, 2), Isa::detect());
        let (images, len) = (3, size.pixels());
        let work = Workspace::<S>::new(&dims, images, len, 2, passes);
        let residual: usize = work.residual.iter().map(|x| 4 * x.len()).sum();
        let layers = work.layers.iter().map(|l| bytes(&[&l.qkv, &l.attn, &l.fc]) + bytes(&[&l.lse, &l.mid]));
        let gradients = work.gradients.iter().map(|g| {
            let PackedTokens { out, fc, proj, late } = &g.packed;
            bytes(&[&g.dx, &g.dgain])
                + bytes(&[&g.dout, &g.dlogits, &g.norm_mid, &g.inner, &g.dattn, &g.dqkv, &g.norm_late])
                + bytes(&[out, fc, proj, late])
        });
        let held = residual + layers.sum::<usize>() + gradients.sum::<usize>() + bytes(&[&work.losses]);
        let said = Workspace::<S>::activation_bytes(&dims, images, len, passes);
        assert_eq!(held + size_of_val(&work.ids[..]), said, "{passes:?}");
        for s in &work.scratch {
            let held = bytes(&[&s.norm, &s.stream, &s.inner]) + bytes(&[&s.rstd, &s.logits, &s.feature]);
            let said = Workspace::<S>::scratch_bytes(&dims, images, len, Passes::Forward);
            assert_eq!(held + s.attention.bytes(), said);
        }
    }

    #[test]
    fn a_workspace_holds_as_many_bytes_as_it_says() {
        for passes in [Passes::Forward, Passes::Keeping, Passes::Recomputing] {
            for size in [ImageSize::square(8), ImageSize { height: 9, width: 11 }] {
                claims::<f32>(size, passes);
                claims::<igpt_kernels::bf16>(size, passes);
            }
        }
    }
}
