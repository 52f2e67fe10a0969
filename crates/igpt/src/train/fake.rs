//! A bigram model behind the engine trait, for tests of the trainer that take milliseconds.
//!
//! The logit of colour v after colour u is entry (v, u) of `lm_head.weight`, so `n_embd` must be at least `n_vocab`.

use std::cell::Cell;
use std::ops::Range;

use crate::data::Batch;
use crate::device::{
    Decoder, Engine, EngineState, GradientBucket, GradientReadyHook, LossSum, Optimizer, Pooling, TrainEngine, Update,
};
use crate::model::{ModelConfig, ParamLayout, ParamTensor};
use crate::train::config::TrainSettings;
use crate::{Error, Result};

pub(crate) struct Fake {
    config: ModelConfig,
    layout: ParamLayout,
    pub(crate) weights: Vec<f32>,
    pub(crate) gradients: Vec<f32>,
    moments: [Vec<f32>; 2],
    pub(crate) ema: Option<Vec<f32>>,
    /// Gradient groups per batch, and the partial sums of groups that wait for others.
    groups: usize,
    waiting: Vec<(usize, Vec<f32>)>,
    steps: u64,
    /// Number of copies of tensors, or parts of them, between engine and host.
    pub(crate) copies: Cell<usize>,
    /// The loss becomes infinite once this many steps are taken.
    pub(crate) breaks_at: u64,
}

impl Fake {
    /// An engine for one of `ranks` ranks.
    pub(crate) fn new(config: &ModelConfig, train: &TrainSettings, ranks: usize) -> Self {
        assert!(config.n_embd >= config.n_vocab);
        let layout = ParamLayout::new(config);
        let zeros = vec![0.0; layout.parameters()];
        Self {
            config: config.clone(),
            layout,
            moments: [zeros.clone(), zeros.clone()],
            ema: (train.ema > 0.0).then(|| zeros.clone()),
            groups: train.gradient_groups / ranks,
            waiting: Vec::new(),
            weights: zeros.clone(),
            gradients: zeros,
            steps: 0,
            copies: Cell::new(0),
            breaks_at: u64::MAX,
        }
    }

    /// Loss of each image; adds `scale` × gradients if `scale` is given, images in order.
    fn pass(&mut self, batch: &Batch, scale: Option<f32>) -> LossSum {
        let (offset, cols) = self.layout.tensor("lm_head.weight").map(|t| (t.offset, t.shape[1])).unwrap();
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
            nats.push(if self.steps >= self.breaks_at { f64::INFINITY } else { sum });
        }
        LossSum { nats, tokens: batch.tokens().len(), ..LossSum::default() }
    }

    fn count(&self) {
        self.copies.set(self.copies.get() + 1);
    }

    fn held(&mut self, state: EngineState) -> Option<&mut Vec<f32>> {
        match state {
            EngineState::Weights => Some(&mut self.weights),
            EngineState::Ema => self.ema.as_mut(),
            EngineState::Moment1 => Some(&mut self.moments[0]),
            EngineState::Moment2 => Some(&mut self.moments[1]),
        }
    }
}

/// The whole gradient.
struct Whole<'a>(&'a [f32]);

impl GradientBucket for Whole<'_> {
    fn range(&self) -> Range<usize> {
        0..self.0.len()
    }

    fn copy_to_host(&self, out: &mut Vec<f32>) -> Result<()> {
        out.extend_from_slice(self.0);
        Ok(())
    }
}

impl TrainEngine for Fake {
    fn accumulate(&mut self, batch: &Batch, scale: f32) -> Result<LossSum> {
        Ok(self.pass(batch, Some(scale)))
    }

    fn end_group(&mut self) -> Result<()> {
        let zeros = vec![0.0; self.gradients.len()];
        let (mut count, mut sum) = (1, std::mem::replace(&mut self.gradients, zeros));
        while let Some((_, earlier)) = self.waiting.pop_if(|(waiting, _)| *waiting == count) {
            sum.iter_mut().zip(earlier).for_each(|(sum, earlier)| *sum += earlier);
            count *= 2;
        }
        match count == self.groups {
            true => self.gradients = sum,
            false => self.waiting.push((count, sum)),
        }
        Ok(())
    }

    fn squared_norm(&mut self) -> Result<f64> {
        Ok(self.gradients.iter().map(|value| f64::from(*value).powi(2)).sum())
    }

    fn accumulate_last(&mut self, batch: &Batch, scale: f32, ready: GradientReadyHook<'_>) -> Result<LossSum> {
        let sum = self.accumulate(batch, scale)?;
        self.end_group()?;
        ready(&Whole(&self.gradients))?;
        Ok(sum)
    }

    fn copy_gradient_in(&mut self, range: Range<usize>, values: &[f32]) -> Result<()> {
        self.count();
        self.gradients[range].copy_from_slice(values);
        Ok(())
    }

    fn copy_gradient(&mut self, name: &str) -> Result<Vec<f32>> {
        self.count();
        Ok(self.gradients[self.layout.tensor(name).unwrap().range()].to_vec())
    }

    fn step(&mut self, Update { adam: update, .. }: &Update) -> Result<f32> {
        self.steps += 1;
        let norm = self.gradients.iter().map(|g| g * g).sum::<f32>().sqrt();
        let [m1, m2] = &mut self.moments;
        let fix = |beta: f32| 1.0 - beta.powi(self.steps as i32);
        let (fix1, fix2) = (fix(update.beta1), fix(update.beta2));
        for (((w, g), m1), m2) in self.weights.iter_mut().zip(&mut self.gradients).zip(m1).zip(m2) {
            *m1 += (1.0 - update.beta1) * (*g - *m1);
            *m2 += (1.0 - update.beta2) * (*g * *g - *m2);
            *w -= update.lr * (*m1 / fix1) / ((*m2 / fix2).sqrt() + update.eps);
            *g = 0.0;
        }
        Ok(norm)
    }

    fn optimizer(&self) -> Optimizer {
        Optimizer::Adam
    }

    fn steps(&self) -> u64 {
        self.steps
    }

    fn update_ema(&mut self, share: f32) -> Result<()> {
        for (ema, weight) in self.ema.iter_mut().flatten().zip(&self.weights) {
            *ema += share * (weight - *ema);
        }
        Ok(())
    }

    fn swap_ema(&mut self) -> Result<()> {
        if let Some(ema) = &mut self.ema {
            ema.swap_with_slice(&mut self.weights);
        }
        Ok(())
    }

    fn optimizer_shard(&self) -> Vec<Range<usize>> {
        std::iter::once(0..self.weights.len()).collect()
    }

    fn copy_owned_weights(&self, _: &mut Vec<f32>) -> Result<()> {
        unreachable!("it owns all of its weights")
    }

    fn set_unowned_weights(&mut self, _: &[f32]) -> Result<()> {
        unreachable!("it owns all of its weights")
    }

    fn tensors(&self, state: EngineState) -> Vec<ParamTensor> {
        let held = state != EngineState::Ema || self.ema.is_some();
        if held { self.layout.tensors().to_vec() } else { Vec::new() }
    }

    fn export(&self, state: EngineState, tensor: &ParamTensor) -> Result<Vec<f32>> {
        self.count();
        let values = match state {
            EngineState::Weights => &self.weights,
            EngineState::Ema => self.ema.as_ref().unwrap(),
            EngineState::Moment1 => &self.moments[0],
            EngineState::Moment2 => &self.moments[1],
        };
        Ok(values[tensor.range()].to_vec())
    }

    fn import(
        &mut self,
        steps: u64,
        read: &mut dyn FnMut(EngineState, &ParamTensor) -> Result<Vec<f32>>,
    ) -> Result<()> {
        for state in EngineState::ALL {
            for tensor in self.tensors(state) {
                let values = read(state, &tensor)?;
                self.held(state).unwrap()[tensor.range()].copy_from_slice(&values);
            }
        }
        self.steps = steps;
        Ok(())
    }

    fn into_weights(self: Box<Self>) -> Result<Vec<f32>> {
        Ok(self.weights)
    }
}

impl Engine for Fake {
    fn config(&self) -> &ModelConfig {
        &self.config
    }

    fn copy_weight(&self, name: &str) -> Result<Vec<f32>> {
        self.count();
        Ok(self.weights[self.layout.tensor(name).unwrap().range()].to_vec())
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
