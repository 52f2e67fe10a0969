//! The padded sizes that the kernels see.

use igpt_kernels::attention::Mask;
use igpt_kernels::{LANE_PAD, Scalar};

use super::workspace::FORWARD_ROWS;
use crate::model::{ModelConfig, Objective};

/// Sizes of a network, widths padded to whole lanes; see [`crate::model::params`] for the padding's rules.
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
}

impl Dims {
    pub(crate) fn new(config: &ModelConfig) -> Self {
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
        }
    }

    /// Rows of a piece of work in the backward pass: the largest divisor of the image's tokens up to 64, so that
    /// pieces end at image borders and sums over rows do not depend on how images are batched; even if there is an
    /// even one, so that pieces are whole units. At least 8, as both sides of an image are 8 to 64.
    pub(crate) fn piece(&self) -> usize {
        let step = if self.n_ctx.is_multiple_of(2) { 2 } else { 1 };
        (step..=FORWARD_ROWS).rev().step_by(step).find(|p| self.n_ctx.is_multiple_of(*p)).unwrap_or(step)
    }

    /// Tokens that weight gradients sum in one go: an image's, or where these are not whole units a piece's.
    pub(crate) fn span<S: Scalar>(&self) -> usize {
        if self.n_ctx.is_multiple_of(S::PACK) { self.n_ctx } else { self.piece() }
    }
}
