//! Padded sizes, as the kernels see them.

use igpt_kernels::attention::Mask;
use igpt_kernels::matmul::TILE_UNITS;
use igpt_kernels::{Isa, LANE_PAD, Scalar};

use crate::model::{ModelConfig, Objective};

/// Sizes of a network, with widths padded to whole lanes; see [`super::layout`] for the padding's rules.
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
    /// Padded width of the MLP's hidden layer.
    pub(crate) inner: usize,
    /// Real colours, V.
    pub(crate) n_vocab: usize,
    /// Padded colours.
    pub(crate) vocab: usize,
    /// 1/√(real head size).
    pub(crate) scale: f32,
    /// Epsilon that the norms add to mean squares.
    pub(crate) eps: f32,
    /// Attention mask: causal or none.
    pub(crate) mask: Mask,
    /// Whether matrix instructions compute the products.
    ///
    /// They are so fast that operands, weights above all, must be used for many rows once they are read. With vector
    /// instructions, short pieces are better, because they stay in a core's own cache.
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

    /// Largest number of rows in one piece of a pass.
    pub(crate) fn rows(&self) -> usize {
        if self.tiles { 256 } else { 64 }
    }

    /// Number of rows in a piece of the forward pass.
    ///
    /// If the image's number of tokens has a divisor above half of [`rows`](Dims::rows), this is that divisor,
    /// because pieces of equal size end at the same time.
    pub(crate) fn forward_rows(&self) -> usize {
        let piece = self.piece();
        if 2 * piece > self.rows() { piece } else { self.rows() }
    }

    /// Number of rows of a weight gradient that one piece computes.
    pub(crate) fn gradient_rows(&self) -> usize {
        if self.tiles { 128 } else { 32 }
    }

    /// Number of rows in a piece of the backward pass: the largest divisor of the image's number of tokens up to
    /// [`rows`](Dims::rows).
    ///
    /// Pieces thus end at image borders, and sums over rows do not depend on how images are batched. The divisor is
    /// even if there is an even one, so that pieces are whole units. It is at least 8, because both sides of an image
    /// are 8 to 64.
    pub(crate) fn piece(&self) -> usize {
        let step = if self.n_ctx.is_multiple_of(2) { 2 } else { 1 };
        (step..=self.rows()).rev().step_by(step).find(|p| self.n_ctx.is_multiple_of(*p)).unwrap_or(step)
    }

    /// Number of tokens that weight gradients sum in one go: an image's, or a piece's if an image's are not whole
    /// units.
    pub(crate) fn span<S: Scalar>(&self) -> usize {
        if self.n_ctx.is_multiple_of(S::PACK) { self.n_ctx } else { self.piece() }
    }

    /// Rows of units in a packed span. Matrix instructions require whole tiles, so the units after the last token are
    /// zero.
    pub(crate) fn span_units<S: Scalar>(&self) -> usize {
        let units = self.span::<S>().div_ceil(S::PACK);
        if self.tiles { units.next_multiple_of(TILE_UNITS) } else { units }
    }
}
