//! Whole images as tokens, ready for an engine.

/// `images` token sequences of `n_ctx` tokens each, (B, T) in raster order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    tokens: Vec<u16>,
    n_ctx: usize,
}

impl Batch {
    /// Wraps `tokens`. Panics unless they are whole images of `n_ctx` tokens.
    pub fn new(tokens: Vec<u16>, n_ctx: usize) -> Self {
        assert!(n_ctx > 0 && tokens.len().is_multiple_of(n_ctx), "{} tokens are not whole images", tokens.len());
        Self { tokens, n_ctx }
    }

    /// Number of images, B.
    pub fn images(&self) -> usize {
        self.tokens.len() / self.n_ctx
    }

    /// Tokens of an image, T.
    pub fn n_ctx(&self) -> usize {
        self.n_ctx
    }

    /// All tokens, (B, T).
    pub fn tokens(&self) -> &[u16] {
        &self.tokens
    }

    /// Tokens of image `i`.
    pub fn image(&self, i: usize) -> &[u16] {
        &self.tokens[i * self.n_ctx..][..self.n_ctx]
    }
}
