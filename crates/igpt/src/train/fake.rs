//! A bigram model behind the engine trait: the trainer's tests in milliseconds. The logit of colour v after colour u
//! is entry (v, u) of `lm_head.weight`, so `n_embd` must be at least `n_vocab`.

use crate::data::Batch;
use crate::model::{Arena, Decoder, Engine, Layout, LossSum, ModelConfig, Optimizer, Pooling, State, Update};
use crate::{Error, Result};

pub(crate) struct Fake {
    config: ModelConfig,
    layout: Layout,
    weights: Vec<f32>,
    gradients: Vec<f32>,
    moments: [Vec<f32>; 2],
    step: u64,
    /// The loss becomes infinite once this many steps are taken.
    pub(crate) breaks_at: u64,
}

impl Fake {
    pub(crate) fn new(config: &ModelConfig) -> Self {
        assert!(config.n_embd >= config.n_vocab);
        let layout = Layout::new(config);
        let zeros = vec![0.0; layout.arena_len()];
        let moments = [zeros.clone(), zeros.clone()];
        let breaks_at = u64::MAX;
        Self { config: config.clone(), layout, weights: zeros.clone(), gradients: zeros, moments, step: 0, breaks_at }
    }

    /// Loss of each image; adds `scale` × gradients if asked to, images in order.
    fn pass(&mut self, batch: &Batch, scale: Option<f32>) -> LossSum {
        let (offset, cols) = self.layout.tensor("lm_head.weight").map(|t| (t.offset, t.cols)).unwrap();
        let n_vocab = self.config.n_vocab;
        let mut nats = Vec::new();
        for i in 0..batch.images() {
            let mut sum = 0.0;
            let mut before = 0;
            for &token in batch.image(i) {
                let place = |v: usize| offset + v * cols + before;
                let exp: Vec<f64> = (0..n_vocab).map(|v| (self.weights[place(v)] as f64).exp()).collect();
                let total: f64 = exp.iter().sum();
                sum += total.ln() - exp[token as usize].ln();
                for (v, e) in exp.iter().enumerate() {
                    let target = if v == token as usize { 1.0 } else { 0.0 };
                    self.gradients[place(v)] += scale.unwrap_or(0.0) * (e / total - target) as f32;
                }
                before = token as usize;
            }
            nats.push(if self.step >= self.breaks_at { f64::INFINITY } else { sum });
        }
        LossSum { nats, tokens: batch.tokens().len(), ..LossSum::default() }
    }
}

impl Engine for Fake {
    fn config(&self) -> &ModelConfig {
        &self.config
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn accumulate(&mut self, batch: &Batch, scale: f32) -> Result<LossSum> {
        Ok(self.pass(batch, Some(scale)))
    }

    fn gradients(&mut self) -> &mut [f32] {
        &mut self.gradients
    }

    fn step(&mut self, Update { adam: update, .. }: &Update) -> Result<f32> {
        self.step += 1;
        let norm = self.gradients.iter().map(|g| g * g).sum::<f32>().sqrt();
        let [m1, m2] = &mut self.moments;
        let fix = |beta: f32| 1.0 - beta.powi(self.step as i32);
        let (fix1, fix2) = (fix(update.beta1), fix(update.beta2));
        for (((w, g), m1), m2) in self.weights.iter_mut().zip(&mut self.gradients).zip(m1).zip(m2) {
            *m1 += (1.0 - update.beta1) * (*g - *m1);
            *m2 += (1.0 - update.beta2) * (*g * *g - *m2);
            *w -= update.lr * (*m1 / fix1) / ((*m2 / fix2).sqrt() + update.eps);
            *g = 0.0;
        }
        Ok(norm)
    }

    fn exchange(&mut self, weights: &mut [f32]) -> Result<()> {
        self.weights.swap_with_slice(weights);
        Ok(())
    }

    fn state(&self) -> State<'_> {
        let [moment1, moment2] = &self.moments;
        State { weights: &self.weights, optimizer: Optimizer::Adam, moment1, moment2, step: self.step }
    }

    fn load(&mut self, _: Optimizer, step: u64, fill: &mut dyn FnMut(Arena, &mut [f32]) -> Result<()>) -> Result<()> {
        fill(Arena::Weights, &mut self.weights)?;
        fill(Arena::Moment1, &mut self.moments[0])?;
        fill(Arena::Moment2, &mut self.moments[1])?;
        self.step = step;
        Ok(())
    }

    fn into_weights(self: Box<Self>) -> Vec<f32> {
        self.weights
    }

    fn evaluate(&mut self, batch: &Batch) -> Result<LossSum> {
        Ok(self.pass(batch, None))
    }

    fn pixel_nats(&mut self, _: &Batch, _: &mut [f32]) -> Result<()> {
        Err(Error::Missing("the bigram engine only trains".into()))
    }

    fn logits(&mut self, _: &Batch, _: &mut [f32]) -> Result<()> {
        Err(Error::Missing("the bigram engine only trains".into()))
    }

    fn class_logits(&mut self, _: &Batch, _: &mut [f32]) -> Result<()> {
        Err(Error::Missing("the bigram engine only trains".into()))
    }

    fn features(&mut self, _: &Batch, _: &[usize], _: Pooling, _: &mut [f32]) -> Result<()> {
        Err(Error::Missing("the bigram engine only trains".into()))
    }

    fn decoder(&self, _: usize) -> Result<Box<dyn Decoder>> {
        Err(Error::Missing("the bigram engine only trains".into()))
    }
}
