//! The engine's memory: every activation and gradient buffer, allocated once.

use igpt_kernels::attention::AttentionScratch;
use igpt_kernels::{Buffer, Scalar, matmul};

use super::dims::Dims;

/// Rows that one piece of the forward pass handles, and the most of the backward pass: a tile of activations that
/// stays in the core's own cache.
pub(crate) const FORWARD_ROWS: usize = 64;

/// What one worker needs for itself.
#[derive(Debug)]
pub(crate) struct Scratch<S: Scalar> {
    /// Normed rows or their gradient, (FORWARD_ROWS, C).
    pub(crate) norm: Buffer<S>,
    /// The rounded gradient of rows of the residual stream, (FORWARD_ROWS, C).
    pub(crate) stream: Buffer<S>,
    /// 1/rms of those rows, (FORWARD_ROWS).
    pub(crate) rstd: Buffer<f32>,
    /// Activated rows of the MLP's middle, or the gradient before activation, (FORWARD_ROWS, inner).
    pub(crate) inner: Buffer<S>,
    /// Logits of some rows, (FORWARD_ROWS, V).
    pub(crate) logits: Buffer<f32>,
    /// Normed rows in f32 for pooled features, (1, C).
    pub(crate) feature: Buffer<f32>,
    /// For the attention kernels.
    pub(crate) attention: AttentionScratch,
    /// Packed columns for a weight gradient.
    pub(crate) columns: matmul::Scratch,
}

/// What the backward pass needs of one block.
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
    /// The MLP's middle before its activation, (rows, inner).
    pub(crate) fc: Buffer<S>,
}

/// Buffers of the backward pass, used by one block after the other.
#[derive(Debug)]
pub(crate) struct Gradients<S: Scalar> {
    /// Gradient of the residual stream, (rows, C).
    pub(crate) dx: Buffer<f32>,
    /// Its rounded copy behind the block, (rows, C).
    pub(crate) dout: Buffer<S>,
    /// Gradient of the logits, (rows, V).
    pub(crate) dlogits: Buffer<S>,
    /// `ln_2`'s output computed again, (rows, C).
    pub(crate) norm_mid: Buffer<S>,
    /// The MLP's activated middle computed again, (rows, inner).
    pub(crate) inner: Buffer<S>,
    /// Gradient of attention's output, (rows, heads).
    pub(crate) dattn: Buffer<S>,
    /// Gradient of q, k, v, (rows, qkv).
    pub(crate) dqkv: Buffer<S>,
    /// `ln_1`'s output (first `ln_f`'s) computed again, (rows, C); kept for the block below.
    pub(crate) norm_late: Buffer<S>,
    /// What gradients of weights multiply, packed along the tokens.
    pub(crate) packed: PackedTokens,
    /// Gain gradients of each piece of rows, (pieces, C).
    pub(crate) dgain: Buffer<f32>,
}

/// Right operands of the gradients of weights.
#[derive(Debug)]
pub(crate) struct PackedTokens {
    /// Gradient of the MLP's output, C wide.
    pub(crate) out: Buffer<u32>,
    /// Gradient of the MLP's middle, inner wide.
    pub(crate) fc: Buffer<u32>,
    /// Gradient of attention's projection, C wide.
    pub(crate) proj: Buffer<u32>,
    /// Gradient of q, k, v, qkv wide (first `ln_f`'s output, C wide); kept for the block below.
    pub(crate) late: Buffer<u32>,
}

/// Everything for up to `images` sequences of `len` tokens.
#[derive(Debug)]
pub(crate) struct Workspace<S: Scalar> {
    /// Sequences it has room for.
    pub(crate) images: usize,
    /// The residual stream before each block and after the last; two in turn when only going forward.
    pub(crate) residual: Vec<Buffer<f32>>,
    /// One per block; a single one when only going forward.
    pub(crate) layers: Vec<LayerActivations<S>>,
    /// Nats of each token, (rows).
    pub(crate) losses: Buffer<f32>,
    /// Input ids, (rows): tokens, and n_vocab for sos.
    pub(crate) ids: Vec<u32>,
    /// Present when training.
    pub(crate) gradients: Option<Gradients<S>>,
    /// One per thread.
    pub(crate) scratch: Vec<Scratch<S>>,
}

impl<S: Scalar> Workspace<S> {
    pub(crate) fn new(dims: &Dims, images: usize, len: usize, threads: usize, training: bool) -> Self {
        let rows = images * len;
        let (c, inner) = (dims.channels, dims.inner);
        let layer = || LayerActivations {
            qkv: Buffer::zeroed(rows * dims.qkv),
            attn: Buffer::zeroed(rows * dims.heads),
            lse: Buffer::zeroed(rows * dims.n_head),
            mid: Buffer::zeroed(rows * c),
            fc: Buffer::zeroed(rows * inner),
        };
        let span = dims.span::<S>();
        let units = rows / span * span.div_ceil(S::PACK);
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
            norm: Buffer::zeroed(FORWARD_ROWS * c),
            stream: Buffer::zeroed(FORWARD_ROWS * c),
            rstd: Buffer::zeroed(FORWARD_ROWS),
            inner: Buffer::zeroed(FORWARD_ROWS * inner),
            logits: Buffer::zeroed(FORWARD_ROWS * dims.vocab),
            feature: Buffer::zeroed(c),
            attention: AttentionScratch::new::<S>(len, dims.head),
            columns: matmul::Scratch::default(),
        };
        Self {
            images,
            residual: (0..if training { dims.n_layer + 1 } else { 2 }).map(|_| Buffer::zeroed(rows * c)).collect(),
            layers: (0..if training { dims.n_layer } else { 1 }).map(|_| layer()).collect(),
            losses: Buffer::zeroed(rows),
            ids: vec![0; rows],
            gradients: training.then(gradients),
            scratch: (0..threads).map(|_| scratch()).collect(),
        }
    }
}
