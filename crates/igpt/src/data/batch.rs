//! Whole images as tokens, ready for an engine.

use std::ops::Range;

/// `images` token sequences of `n_ctx` tokens each, (B, T) in raster order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    tokens: Vec<u16>,
    n_ctx: usize,
    masked: Option<Vec<bool>>,
    labels: Option<Vec<u32>>,
}

impl Batch {
    /// Wraps `tokens`. Panics unless they are whole images of `n_ctx` tokens.
    pub fn new(tokens: Vec<u16>, n_ctx: usize) -> Self {
        assert!(n_ctx > 0 && tokens.len().is_multiple_of(n_ctx), "{} tokens are not whole images", tokens.len());
        Self { tokens, n_ctx, masked: None, labels: None }
    }

    /// The same with masked positions, (B, T): what a network of [`crate::model::Objective::Masked`] does not see and
    /// has to tell. Panics on another number of them.
    pub fn with_masks(self, masked: Vec<bool>) -> Self {
        assert_eq!(masked.len(), self.tokens.len(), "a mask for each token");
        Self { masked: Some(masked), ..self }
    }

    /// The same without labels: nothing is classified.
    pub fn without_labels(self) -> Self {
        Self { labels: None, ..self }
    }

    /// The same with the class of each image. Panics on another number of them.
    pub fn with_labels(self, labels: Vec<u32>) -> Self {
        assert_eq!(labels.len(), self.images(), "a label for each image");
        Self { labels: Some(labels), ..self }
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

    /// Which tokens are masked, (B, T), if any may be.
    pub fn masked(&self) -> Option<&[bool]> {
        self.masked.as_deref()
    }

    /// The class of each image, if known.
    pub fn labels(&self) -> Option<&[u32]> {
        self.labels.as_deref()
    }

    /// Tokens of image `i`.
    pub fn image(&self, i: usize) -> &[u16] {
        &self.tokens[i * self.n_ctx..][..self.n_ctx]
    }

    /// A run of images with their masks and labels.
    pub fn slice(&self, images: Range<usize>) -> Self {
        let tokens = images.start * self.n_ctx..images.end * self.n_ctx;
        Self {
            tokens: self.tokens[tokens.clone()].to_vec(),
            n_ctx: self.n_ctx,
            masked: self.masked.as_ref().map(|masked| masked[tokens].to_vec()),
            labels: self.labels.as_ref().map(|labels| labels[images].to_vec()),
        }
    }
}
