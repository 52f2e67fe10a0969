//! The padded sizes that the kernels see.

use igpt_kernels::attention::Mask;
use igpt_kernels::matmul::TILE_UNITS;
use igpt_kernels::{Isa, LANE_PAD, Scalar};

use crate::model::{ModelConfig, Objective};

/// Sizes of a network, widths padded to whole lanes; see [`super::layout`] for the padding's rules.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dims {
    /// Positions of a full sequence, T.
    pub(crate) n_ctx: usize,
    /// Real channels, C.
    pub(crate) n_embd: usize,
    /// Padded channels.
    pub(crate) channels: usize,
    /// Blocks, L.
    pub(crate) n_layer: usize,
    /// Heads, NH.
    pub(crate) n_head: usize,
    /// Padded head size, HS.
    pub(crate) head: usize,
    /// Padded width of all heads side by side.
    pub(crate) heads: usize,
    /// Padded width of the fused q, k, v.
    pub(crate) qkv: usize,
    /// Padded width of the MLP's middle.
    pub(crate) inner: usize,
    /// Real colours, V.
    pub(crate) n_vocab: usize,
    /// Padded colours.
    pub(crate) vocab: usize,
    /// 1/√(real head size).
    pub(crate) scale: f32,
    /// Added to mean squares.
    pub(crate) eps: f32,
    /// What a position sees of the others.
    pub(crate) mask: Mask,
    /// Whether matrix instructions compute the products: so quickly that what is read for them, weights above all, has
    /// to serve many rows. With vectors short pieces are better, which stay in a core's own cache.
    pub(crate) tiles: bool,
}

impl Dims {
    /// The sizes for products of format `S` on `isa`.
    pub(crate) fn new<S: Scalar>(config: &ModelConfig, isa: Isa) -> Self {
        let pad = |n: usize| n.next_multiple_of(LANE_PAD);
        let head = config.head_size().next_multiple_of(16);
        Self {
            n_ctx: config.n_ctx(),
            n_embd: config.n_embd,
            channels: pad(config.n_embd),
            n_layer: config.n_layer,
            n_head: config.n_head,
            head,
            heads: pad(config.n_head * head),
            qkv: pad(3 * config.n_head * head),
            inner: pad(config.n_inner),
            n_vocab: config.n_vocab,
            vocab: pad(config.n_vocab),
            scale: (config.head_size() as f32).powf(-0.5),
            eps: config.layer_norm_epsilon,
            mask: match config.objective {
                Objective::Autoregressive => Mask::Causal,
                Objective::Masked => Mask::None,
            },
            tiles: isa.has_tiles::<S>(),
        }
    }

    /// The most rows that one piece of a pass handles.
    pub(crate) fn rows(&self) -> usize {
        if self.tiles { 256 } else { 64 }
    }

    /// Rows of a piece of the forward pass: where a good part of [`rows`](Dims::rows) divides the image's tokens, so many,
    /// because equal pieces end together.
    pub(crate) fn forward_rows(&self) -> usize {
        let piece = self.piece();
        if 2 * piece > self.rows() { piece } else { self.rows() }
    }

    /// Rows of a weight's gradient that one piece computes.
    pub(crate) fn gradient_rows(&self) -> usize {
        if self.tiles { 128 } else { 32 }
    }

    /// Rows of a piece of work in the backward pass: the largest divisor of the image's tokens up to
    /// [`rows`](Dims::rows), so that pieces end at image borders and sums over rows do not depend on how images are
    /// batched; even if there is an even one, so that pieces are whole units. At least 8, as both sides of an image are 8 to 64.
    pub(crate) fn piece(&self) -> usize {
        let step = if self.n_ctx.is_multiple_of(2) { 2 } else { 1 };
        (step..=self.rows()).rev().step_by(step).find(|p| self.n_ctx.is_multiple_of(*p)).unwrap_or(step)
    }

    /// Tokens that weight gradients sum in one go: an image's, or where these are not whole units a piece's.
    pub(crate) fn span<S: Scalar>(&self) -> usize {
        if self.n_ctx.is_multiple_of(S::PACK) { self.n_ctx } else { self.piece() }
    }

    /// Rows of units of a packed span, of which matrix instructions want whole tiles: those behind the last token are zero.
    pub(crate) fn span_units<S: Scalar>(&self) -> usize {
        let units = self.span::<S>().div_ceil(S::PACK);
        if self.tiles { units.next_multiple_of(TILE_UNITS) } else { units }
    }
}
