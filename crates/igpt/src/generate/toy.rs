//! Toy engine for tests, whose logits are a hash of everything drawn so far.
//!
//! If a token goes to a wrong row or position, everything that follows changes.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Result;
use crate::data::Batch;
use crate::device::{Decoder, Engine, LossSum, Pooling};
use crate::image::ImageSize;
use crate::model::ModelConfig;
use crate::rng::{Purpose, Rng};

/// Toy engine, which can only draw.
pub(crate) struct Toy {
    config: ModelConfig,
    starts: Arc<AtomicUsize>,
}

impl Toy {
    pub(crate) fn new(n_px: usize, n_vocab: usize) -> Self {
        let config = ModelConfig::new(ImageSize::square(n_px), n_vocab, 8, 1, 1);
        Self { config, starts: Arc::default() }
    }

    /// Number of times that a row was started rather than copied.
    pub(crate) fn starts(&self) -> usize {
        self.starts.load(Ordering::Relaxed)
    }

    /// Logits of the token after `tokens`.
    pub(crate) fn logits_after(&self, tokens: &[u16]) -> Vec<f32> {
        logits_after(tokens, self.config.n_vocab)
    }
}

fn logits_after(tokens: &[u16], n_vocab: usize) -> Vec<f32> {
    let mut hasher = DefaultHasher::new();
    tokens.hash(&mut hasher);
    let mut rng = Rng::new(hasher.finish(), Purpose::Init, 0, 0);
    (0..n_vocab).map(|_| 2.0 * rng.normal() as f32).collect()
}

struct Rows {
    drawn: Vec<Vec<u16>>,
    n_vocab: usize,
    n_ctx: usize,
    starts: Arc<AtomicUsize>,
}

impl Decoder for Rows {
    fn rows(&self) -> usize {
        self.drawn.len()
    }

    fn start(&mut self, row: usize, given: &[u16], logits: &mut [f32]) -> Result<()> {
        assert!(given.len() < self.n_ctx, "nothing left to draw");
        self.starts.fetch_add(1, Ordering::Relaxed);
        self.drawn[row] = given.to_vec();
        logits.copy_from_slice(&logits_after(given, self.n_vocab));
        Ok(())
    }

    fn copy(&mut self, from: usize, to: usize) -> Result<()> {
        self.drawn[to] = self.drawn[from].clone();
        Ok(())
    }

    fn step(&mut self, inputs: &[(usize, u16)], logits: &mut [f32]) -> Result<()> {
        assert_eq!(logits.len(), inputs.len() * self.n_vocab);
        for (&(row, token), logits) in inputs.iter().zip(logits.chunks_mut(self.n_vocab)) {
            self.drawn[row].push(token);
            assert!(self.drawn[row].len() < self.n_ctx, "the last pixel's successor is of no use");
            logits.copy_from_slice(&logits_after(&self.drawn[row], self.n_vocab));
        }
        Ok(())
    }
}

impl Engine for Toy {
    fn config(&self) -> &ModelConfig {
        &self.config
    }
    fn copy_weight(&self, _: &str) -> Result<Vec<f32>> {
        unreachable!("toys have no weights")
    }
    fn evaluate(&mut self, _: &Batch) -> Result<LossSum> {
        unreachable!("toys can only draw")
    }
    fn pixel_nats(&mut self, _: &Batch, _: &mut [f32]) -> Result<()> {
        unreachable!("toys can only draw")
    }
    fn logits(&mut self, _: &Batch, _: &mut [f32]) -> Result<()> {
        unreachable!("toys can only draw")
    }
    fn class_logits(&mut self, _: &Batch, _: &mut [f32]) -> Result<()> {
        unreachable!("toys can only draw")
    }
    fn features(&mut self, _: &Batch, _: &[usize], _: Pooling, _: &mut [f32]) -> Result<()> {
        unreachable!("toys can only draw")
    }
    fn decoder(&self, rows: usize) -> Result<Box<dyn Decoder>> {
        let (n_vocab, n_ctx) = (self.config.n_vocab, self.config.n_ctx());
        Ok(Box::new(Rows { drawn: vec![Vec::new(); rows], n_vocab, n_ctx, starts: self.starts.clone() }))
    }
}
