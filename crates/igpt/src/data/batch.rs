//! Batches of whole images as tokens, ready for an engine.

use std::ops::Range;

/// Batch of images as token sequences, (B, T) in raster order, with optional masks and labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    tokens: Vec<u16>,
    n_ctx: usize,
    masked: Option<Vec<bool>>,
    labels: Option<Vec<u32>>,
}

impl Batch {
    /// Creates a batch from tokens, (B, T), without masks and labels.
    ///
    /// Panics unless they are whole images of `n_ctx` tokens.
    pub fn new(tokens: Vec<u16>, n_ctx: usize) -> Self {
        assert!(n_ctx > 0 && tokens.len().is_multiple_of(n_ctx), "{} tokens are not whole images", tokens.len());
        Self { tokens, n_ctx, masked: None, labels: None }
    }

    /// Adds masked positions, (B, T): `true` where a masked model must predict the token without seeing it.
    ///
    /// Only a network of [`crate::model::Objective::Masked`] uses them. Panics unless there is one per token.
    pub fn with_masks(self, masked: Vec<bool>) -> Self {
        assert_eq!(masked.len(), self.tokens.len(), "a mask for each token");
        Self { masked: Some(masked), ..self }
    }

    /// Removes the labels, so that nothing is classified.
    pub fn without_labels(self) -> Self {
        Self { labels: None, ..self }
    }

    /// Adds the class of each image, (B).
    ///
    /// Panics unless there is one per image.
    pub fn with_labels(self, labels: Vec<u32>) -> Self {
        assert_eq!(labels.len(), self.images(), "a label for each image");
        Self { labels: Some(labels), ..self }
    }

    /// Returns the number of images, B.
    pub fn images(&self) -> usize {
        self.tokens.len() / self.n_ctx
    }

    /// Returns the number of tokens per image, T.
    pub fn n_ctx(&self) -> usize {
        self.n_ctx
    }

    /// Returns the tokens of all images, (B, T).
    pub fn tokens(&self) -> &[u16] {
        &self.tokens
    }

    /// Returns which tokens are masked, (B, T), if the batch has masks.
    pub fn masked(&self) -> Option<&[bool]> {
        self.masked.as_deref()
    }

    /// Returns the class of each image, (B), if the batch has labels.
    pub fn labels(&self) -> Option<&[u32]> {
        self.labels.as_deref()
    }

    /// Returns the tokens of image `i`, (T).
    pub fn image(&self, i: usize) -> &[u16] {
        &self.tokens[i * self.n_ctx..][..self.n_ctx]
    }

    /// Copies a range of the images with their masks and labels.
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
