//! The seam between the mathematics and everything that uses it: an engine holds one copy of a model and
//! computes with it.

use std::ops::Range;

use crate::data::Batch;
use crate::model::{Layout, ModelConfig, Rates};
use crate::{Error, Result};

/// The number format of weights and activations inside matrix products. Sums are always f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// bfloat16 operands, f32 sums, f32 residual stream and master weights.
    Bf16,
    /// Everything f32: what parity is measured with.
    F32,
}

impl Precision {
    /// Both formats.
    pub const ALL: [Precision; 2] = [Precision::Bf16, Precision::F32];

    /// Its name in configs and flags.
    pub fn name(self) -> &'static str {
        match self {
            Precision::Bf16 => "bf16",
            Precision::F32 => "f32",
        }
    }
}

/// What updates the weights, and so which moments an engine holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// Adam for every parameter: two moments each.
    #[default]
    Adam,
    /// Muon for the hidden matrices, which have one moment; Adam for everything else.
    Muon,
}

impl Optimizer {
    /// Both optimisers.
    pub const ALL: [Optimizer; 2] = [Optimizer::Adam, Optimizer::Muon];

    /// Its name in configs and flags.
    pub fn name(self) -> &'static str {
        match self {
            Optimizer::Adam => "adam",
            Optimizer::Muon => "muon",
        }
    }
}

/// One optimiser step over the whole gradient, clipped by its global norm first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update {
    /// Largest global gradient norm; 0 turns clipping off.
    pub clip: f32,
    /// For every parameter, or for all but the hidden matrices.
    pub adam: AdamUpdate,
    /// For the hidden matrices of an engine for Muon.
    pub muon: Option<MuonUpdate>,
    /// How the rates of both differ from tensor to tensor.
    pub rates: Rates,
}

impl Update {
    /// The optimiser that this is a step of.
    pub fn optimizer(&self) -> Optimizer {
        if self.muon.is_some() { Optimizer::Muon } else { Optimizer::Adam }
    }
}

/// A step of Adam (torch.optim.AdamW's semantics).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamUpdate {
    /// Learning rate of this step.
    pub lr: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// Decoupled weight decay, 0 in the paper.
    pub weight_decay: f32,
}

/// A step of Muon (torch.optim.Muon's semantics, with Nesterov momentum and the scale √max(1, fan out / fan in)).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MuonUpdate {
    /// Learning rate of this step.
    pub lr: f32,
    /// Decay of the momentum.
    pub momentum: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// Whether every head's q, k and v are made orthogonal by themselves, rather than each of the three as a whole.
    pub heads: bool,
}

/// What fine-tuning changes about training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FineTuning {
    /// Weight of the generative loss beside that of the classes: 1 in the paper.
    pub generative_weight: f32,
    /// The first blocks that keep their weights, and the embeddings with them; 0 trains everything.
    pub frozen_blocks: usize,
}

impl Default for FineTuning {
    fn default() -> Self {
        Self { generative_weight: 1.0, frozen_blocks: 0 }
    }
}

/// What a training or evaluation pass over a batch found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LossSum {
    /// Nats of each image, summed over its tokens, in the batch's order. Of masked inputs the mean over the masked
    /// positions times the image's tokens, so that images count alike (official code). Empty where training weighs
    /// pixels with 0 beside classes: they are not scored then.
    pub nats: Vec<f64>,
    /// Tokens scored.
    pub tokens: usize,
    /// Nats of each image's class, where the batch has labels and the model a classifier.
    pub class_nats: Vec<f64>,
    /// The likeliest class of each of these images.
    pub predicted: Vec<u32>,
}

impl LossSum {
    /// Nats per token; not a number where none was scored.
    pub fn mean(&self) -> f64 {
        self.nats.iter().sum::<f64>() / self.tokens as f64
    }

    /// Nats per label.
    pub fn class_mean(&self) -> f64 {
        self.class_nats.iter().sum::<f64>() / self.class_nats.len() as f64
    }

    /// Appends what was found on the images behind.
    pub fn extend(&mut self, behind: LossSum) {
        self.nats.extend(behind.nats);
        self.tokens += behind.tokens;
        self.class_nats.extend(behind.class_nats);
        self.predicted.extend(behind.predicted);
    }
}

/// Everything a checkpoint must hold of an engine, as flat arenas that [`Layout`] names the parts of.
#[derive(Clone, Copy, Debug)]
pub struct State<'a> {
    /// Master weights.
    pub weights: &'a [f32],
    /// What the moments belong to.
    pub optimizer: Optimizer,
    /// Adam's first moments and Muon's momentum; of an engine that owns a share only those, as of [`Layout::part`].
    pub moment1: &'a [f32],
    /// Adam's second moments, laid out by [`Layout::second_moments`].
    pub moment2: &'a [f32],
    /// Optimiser steps taken.
    pub step: u64,
}

/// One of the arenas of a [`State`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arena {
    /// Master weights.
    Weights,
    /// Adam's first moments and Muon's momentum.
    Moment1,
    /// Adam's second moments.
    Moment2,
}

/// How the values of a layer's positions become an image's features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// Their mean, as in the paper.
    #[default]
    Mean,
    /// The largest of each.
    Max,
    /// Those of the last position, which has seen all pixels but its own.
    Last,
    /// All of them, position after position.
    None,
}

impl Pooling {
    /// Its name in files and flags.
    pub fn name(self) -> &'static str {
        match self {
            Pooling::Mean => "mean",
            Pooling::Max => "max",
            Pooling::Last => "last",
            Pooling::None => "none",
        }
    }

    /// Rows of n_embd values that it makes of `n_ctx` positions.
    pub fn rows(self, n_ctx: usize) -> usize {
        if self == Pooling::None { n_ctx } else { 1 }
    }
}

/// One copy of the model and whatever computes it.
pub trait Engine: Send {
    /// The network's shape.
    fn config(&self) -> &ModelConfig;
    /// Where each tensor lies in the flat arenas.
    fn layout(&self) -> &Layout;
    /// Forward and backward over whole images: adds `scale` × the gradient of the summed loss to the gradients. Where
    /// the batch has labels and the model a classifier, the loss of an image is [`FineTuning::generative_weight`] × its
    /// nats plus T × the nats of its class, so that 1 / (B·T) makes means of both; with a weight of 0 pixels are not
    /// scored at all. A model of masked pixels wants masked inputs, another wants none. The bits do not depend on how a
    /// batch is cut into micro-batches or on the number of threads.
    fn accumulate(&mut self, batch: &Batch, scale: f32) -> Result<LossSum>;
    /// As [`Engine::accumulate`], and gives each range of the flat gradient to `ready` once, when it is final: ranks
    /// then sum it while the rest is computed. An engine that can't tell gives all of it at the end.
    fn accumulate_ready(
        &mut self,
        batch: &Batch,
        scale: f32,
        ready: &mut dyn FnMut(Range<usize>, &mut [f32]),
    ) -> Result<LossSum> {
        let sum = self.accumulate(batch, scale)?;
        let gradients = self.gradients();
        ready(0..gradients.len(), gradients);
        Ok(sum)
    }
    /// The flat gradient.
    fn gradients(&mut self) -> &mut [f32];
    /// Clips, updates the weights that are [`Engine::owned`] and sets the gradients to zero; gives the global gradient
    /// norm before clipping. An update of another optimiser than the engine's is an error.
    fn step(&mut self, update: &Update) -> Result<f32>;
    /// The part of the arena that [`Engine::step`] updates and whose moments are held, whole tensors: everything,
    /// unless the engine was opened for a share.
    fn owned(&self) -> Range<usize> {
        0..self.layout().arena_len()
    }
    /// Takes over `weights`, an arena, but for what is [`Engine::owned`]: the owners of the other parts have updated them.
    fn renew(&mut self, _weights: &[f32]) -> Result<()> {
        Err(Error::Invalid("this engine owns all of its weights".into()))
    }
    /// Takes over `weights`, an arena, and leaves its own there; moments stay.
    fn exchange(&mut self, _weights: &mut [f32]) -> Result<()> {
        Err(Error::Invalid("this engine keeps its weights".into()))
    }
    /// All weights, and the moments of what is owned, to be saved.
    fn state(&self) -> State<'_>;
    /// Takes over saved weights and moments: `fill` writes each arena, one after the other. After an error of `fill`
    /// the engine's state is neither the old nor the new one.
    fn load(
        &mut self,
        optimizer: Optimizer,
        step: u64,
        fill: &mut dyn FnMut(Arena, &mut [f32]) -> Result<()>,
    ) -> Result<()>;
    /// As [`Engine::load`], from arenas at hand.
    fn restore(&mut self, state: State<'_>) -> Result<()> {
        let own = self.state();
        let lens = |state: &State<'_>| [state.weights, state.moment1, state.moment2].map(<[f32]>::len);
        if state.optimizer == own.optimizer && lens(&state) != lens(&own) {
            let (lens, wanted) = (lens(&state), lens(&own));
            return Err(Error::Mismatch(format!("saved arenas of {lens:?} values, but the model's have {wanted:?}")));
        }
        self.load(state.optimizer, state.step, &mut |arena, values| {
            values.copy_from_slice(match arena {
                Arena::Weights => state.weights,
                Arena::Moment1 => state.moment1,
                Arena::Moment2 => state.moment2,
            });
            Ok(())
        })
    }
    /// The weights alone; everything else is freed before they are copied.
    fn into_weights(self: Box<Self>) -> Vec<f32>;
    /// Forward only: nats of each image.
    fn evaluate(&mut self, batch: &Batch) -> Result<LossSum>;
    /// Forward only: nats of each pixel, (B, T) in `out`. An error for a model of masked pixels.
    fn pixel_nats(&mut self, batch: &Batch, out: &mut [f32]) -> Result<()>;
    /// Forward only: logits (B, T, n_vocab) in `out`; position t scores token t.
    fn logits(&mut self, batch: &Batch, out: &mut [f32]) -> Result<()>;
    /// Forward only: logits of the classifier, (B, num_labels) in `out`; an error without one.
    fn class_logits(&mut self, batch: &Batch, out: &mut [f32]) -> Result<()>;
    /// `ln_1(h^l)` of each layer asked for, pooled over positions (l = n_layer is `ln_f`'s output): (B, layers, n_embd)
    /// in `out`, or (B, layers, T, n_embd) without pooling (Chen et al. 2020, section 2.4). Stops at the deepest layer
    /// asked for.
    fn features(&mut self, batch: &Batch, layers: &[usize], pooling: Pooling, out: &mut [f32]) -> Result<()>;
    /// Whether it has decoders, apart from its objective.
    fn draws(&self) -> bool {
        true
    }
    /// A decoder for `rows` images at once, sharing this engine's present weights. An error for a model of masked
    /// pixels, which has no order to draw in.
    fn decoder(&self, rows: usize) -> Result<Box<dyn Decoder>>;
}

/// Draws images pixel by pixel with a KV cache; each row is one image at its own position.
pub trait Decoder: Send {
    /// How many images it holds at once.
    fn rows(&self) -> usize;
    /// Starts `row` anew with the first `given.len()` tokens of its image (none: only sos) in one forward pass and
    /// writes the logits (n_vocab) of the next pixel.
    fn start(&mut self, row: usize, given: &[u16], logits: &mut [f32]) -> Result<()>;
    /// Makes row `to` what row `from` is: the same image at the same pixel.
    fn copy(&mut self, from: usize, to: usize) -> Result<()>;
    /// Feeds each (row, token) and writes the logits of each row's next pixel, (inputs, n_vocab). A row's result
    /// does not depend on which other rows are fed with it.
    fn step(&mut self, inputs: &[(usize, u16)], logits: &mut [f32]) -> Result<()>;
}
