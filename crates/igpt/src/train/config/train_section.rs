//! The section `[train]`: every setting of training with its default, and what the trainer makes of them.

use serde::{Deserialize, Serialize};

use crate::device::{AdamUpdate, Device, Precision, Update};
use crate::model::{Initialization, LrMultipliers, ModelConfig, Objective, SaveType, initial_weights};
use crate::train::config::keep::Keep;
use crate::train::config::optimizer::{self, OptimizerSettings};
use crate::train::config::planned::{RunPhase, StepPlan};
use crate::train::config::recipe::Recipe;
use crate::train::config::schedule::{Decay, Schedule};

/// Settings of training, `[train]` of a run's configuration. The default is that of pretraining by the default [`Recipe`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default = "TrainSettings::paper", deny_unknown_fields)]
#[non_exhaustive]
pub struct TrainSettings {
    /// The bundle of settings below all files and flags.
    pub recipe: Recipe,
    /// What is predicted: the next pixel (`autoregressive`), or masked ones (`masked`).
    pub objective: Objective,
    /// The probability that a position is masked, where the objective is `masked`. Where nothing is said 0.15, or that
    /// of the model to fine-tune.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask_prob: Option<f64>,
    /// Budget in optimiser steps; exactly one of `steps`, `epochs` and `minutes` is given, or none where
    /// a classifier is trained: then it is three passes over its images, or 1,000 steps where that is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Budget in passes over the training images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<f64>,
    /// Budget in minutes of training, validation and samples included; see [`StepPlan`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minutes: Option<f64>,
    /// Images of a step; 0 chooses about 4096 tokens.
    pub batch: usize,
    /// Images that go through the engine at once; 0 chooses about 4096 tokens, or 2048 for one thread. Does not change a
    /// bit of the result.
    pub micro_batch: usize,
    /// Whether the backward pass computes each block's activations again instead of keeping them: a third more
    /// arithmetic for a fraction of the memory. Where nothing is said only if they don't fit otherwise. Does not change
    /// a bit of the result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recompute: Option<bool>,
    /// Whether each block's weights are packed for the matrix products when a pass comes to it instead of being kept
    /// packed: less memory, a little more time, and no samples on the way. Where nothing is said only if it doesn't fit
    /// otherwise. Does not change a bit of the result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_weights: Option<bool>,
    /// Equal runs of the batch whose gradients are summed by a binary tree; a power of two. Several ranks divide them.
    pub gradient_groups: usize,
    /// How the weights of a new network are drawn: `paper`, or `grid` for positions that start as waves.
    pub init: Initialization,
    /// What updates the hidden matrices, with its own settings; Adam updates everything else.
    #[serde(deserialize_with = "optimizer::read")]
    pub optimizer: OptimizerSettings,
    /// Peak learning rate of Adam.
    pub lr: f64,
    /// The rates of a block are those of the block above times this, of either optimizer: 1 trains all alike. Embeddings go
    /// with the first block, the final norm and the output matrix with the last.
    pub layer_decay: f64,
    /// The width at which `lr` was found, for a network of another: Adam's rate of matrices that sum over the width
    /// (inside blocks, of the output) is multiplied by `mup_base_width` / `n_embd`, that of embeddings, gains and biases is not (µP
    /// for Adam: Yang et al. 2022, table 3). 0 takes `lr` for all. Muon's rate and how weights are drawn stay the same.
    pub mup_base_width: usize,
    /// The way of the learning rate after the warm-up: to zero by a `cosine` or a `linear` decay, or `constant`.
    pub schedule: Decay,
    /// Adam's decay of the first moment.
    pub beta1: f64,
    /// Adam's decay of the second moment.
    pub beta2: f64,
    /// Added to the root of Adam's second moment.
    pub eps: f64,
    /// Largest global gradient norm; 0 turns clipping off.
    pub clip: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Decay of an exponential average of the weights, such as 0.999, which validations, samples, probes and the finished
    /// model then use; 0 uses the weights themselves. Costs the memory of the weights once more.
    pub ema: f64,
    /// Warm-up in epochs; one where no warm-up is said. It lasts at most half of the run in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_epochs: Option<f64>,
    /// Warm-up in steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_steps: Option<u64>,
    /// Seed of everything random.
    pub seed: u64,
    /// Where the network is computed: `auto`, the quickest device that is there, `cpu`, or `cuda:1`.
    pub device: Device,
    /// Number format inside matrix products.
    pub precision: Precision,
    /// Number format of the weights in the finished model directory; checkpoints are always exact.
    pub save: SaveType,
    /// Threads to compute with; 0 is one for each available core. Does not change a bit of the result.
    pub threads: usize,
    /// Steps between validations, 0 for only the last. By default twenty in a run, at most 1000 steps apart, or fewer where
    /// they would take more than a fifteenth of the run (of a classifier, a sixth).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_every: Option<u64>,
    /// Images of the validation split that are scored, always the first ones; 0 is all. By default 512, or fewer where ten
    /// validations would otherwise take more than a fifteenth of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_images: Option<usize>,
    /// Steps between sample grids, 0 for only the last. By default four in a run, or fewer where they would take more than a
    /// thirtieth of its time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_every: Option<u64>,
    /// Images in a sample grid; 0 draws none. By default 16, or fewer where even one grid would take more than a thirtieth
    /// of the run's time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_images: Option<usize>,
    /// Labelled training images for a quick probe of the middle layers while pretraining, with half as many of validation:
    /// `probe_accuracy` in the metrics. 0 is none. It costs a forward pass of all of them through two thirds of the
    /// network. A number that is given is probed at every validation; by default, where there are labels, it is at most
    /// 512, so often that they take a thirtieth of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe_images: Option<usize>,
    /// Steps between checkpoints, 0 for only the last. By default as often as validations. Weights that are kept for their
    /// validation are saved in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_every: Option<u64>,
    /// Which weights the finished model has: those of the lowest validation loss (`best`; of a classifier always those of
    /// the highest validation accuracy), or those of the `last` step.
    pub keep: Keep,
    /// Early stopping: validations in a row without a lower loss (of a classifier, without a higher accuracy) after which
    /// training ends; 0 goes on to the end of the budget. By default a quarter of the run's validations and at least 5, or 0
    /// where `keep` is `last`; of a classifier 10, unless its recipe says otherwise (modern: 0).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<u64>,
    /// Newest checkpoints kept, beside the best by validation loss.
    pub keep_last: usize,
    /// Checkpoints at multiples of this step are never deleted; 0 is none.
    pub keep_every: u64,
    /// The plans that a run of `minutes` made: written into the resolved config; where given they are followed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<StepPlan>,
    /// The phases that a run had before it was extended, oldest first; the budget is that of the last one, which follows them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<RunPhase>,
}

/// Tokens of a step where its images are not counted: small steps learn most in little time, and this many still keep
/// the matrix products efficient.
const TOKENS_OF_A_STEP: usize = 4096;

/// Images of a validation or a probe, unless others are asked for.
const MOST_EVALUATED: usize = 512;

impl TrainSettings {
    /// The settings of [`Recipe::Paper`], on which every recipe builds: those of Chen et al. 2020, section 3.4, where it
    /// states them.
    pub(crate) fn paper() -> Self {
        Self {
            recipe: Recipe::Paper,
            objective: Objective::Autoregressive,
            mask_prob: None,
            steps: None,
            epochs: None,
            minutes: None,
            batch: 128,
            micro_batch: 0,
            recompute: None,
            stream_weights: None,
            gradient_groups: 1,
            init: Initialization::Paper,
            optimizer: OptimizerSettings::default(),
            lr: 3e-3,
            layer_decay: 1.0,
            mup_base_width: 0,
            schedule: Decay::Cosine,
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-8,
            clip: 1.0,
            weight_decay: 0.0,
            ema: 0.0,
            warmup_epochs: None,
            warmup_steps: None,
            seed: 0,
            device: Device::Auto,
            precision: Precision::Bf16,
            save: SaveType::F32,
            threads: 0,
            eval_every: None,
            eval_images: None,
            sample_every: None,
            sample_images: None,
            probe_images: None,
            checkpoint_every: None,
            keep: Keep::Best,
            patience: None,
            keep_last: 2,
            keep_every: 0,
            plan: Vec::new(),
            phases: Vec::new(),
        }
    }

    /// Validation images that are made ready, of so many.
    pub fn validated_images(&self, available: usize) -> usize {
        match self.eval_images {
            Some(0) => available,
            images => images.unwrap_or(MOST_EVALUATED).min(available),
        }
    }

    /// Tiles that a model of tiles is validated on.
    pub fn validated_tiles(&self) -> usize {
        self.eval_images.filter(|images| *images > 0).unwrap_or(MOST_EVALUATED)
    }

    /// Labelled training images for the quick probe.
    pub fn probed_images(&self) -> usize {
        self.probe_images.unwrap_or(match self.eval_images {
            None | Some(0) => MOST_EVALUATED,
            Some(images) => images.min(MOST_EVALUATED),
        })
    }

    /// Images of a sample grid, unless drawing takes long.
    pub fn drawn_images(&self) -> usize {
        self.sample_images.unwrap_or(16)
    }

    /// The weights that a new `network` starts with, tensor after tensor as [`ParamLayout`](crate::model::ParamLayout) lists them.
    pub fn initial_weights(&self, network: &ModelConfig) -> Vec<f32> {
        initial_weights(network, self.init, self.seed)
    }

    /// Writes out what is left open: the batch of images of `n_ctx` tokens.
    pub(crate) fn resolve(&mut self, n_ctx: usize) {
        if self.batch == 0 {
            let images = (TOKENS_OF_A_STEP as f64 / n_ctx as f64).round() as usize;
            self.batch = images.max(1).next_multiple_of(self.gradient_groups);
        }
    }

    /// Steps and seconds of training at which the budget begins.
    pub fn begins(&self) -> (u64, f64) {
        self.phases.last().map_or((0, 0.0), |phase| (phase.steps, phase.seconds))
    }

    /// Steps of the budget over so many training `images`; none where minutes are its budget.
    pub(crate) fn fixed_steps(&self, images: usize) -> Option<u64> {
        let epoch = images as f64 / self.batch as f64;
        self.steps.or(self.epochs.map(|epochs| ((epochs * epoch).round() as u64).max(1)))
    }

    /// Peak learning rate of the optimiser: its own, or Adam's where it has none.
    pub fn peak_lr(&self) -> f64 {
        self.optimizer.own_rate().unwrap_or(self.lr)
    }

    /// Sets the peak learning rate of the optimiser; where that is not Adam's, Adam's changes in the same ratio.
    pub fn set_peak_lr(&mut self, rate: f64) {
        self.lr = match self.optimizer.own_rate() {
            Some(own) => rate * (self.lr / own),
            None => rate,
        };
        self.optimizer.set_own_rate(rate);
    }

    /// Step `step` (from 0) of the optimiser under `schedule`, for a network of width `n_embd`.
    pub fn update(&self, schedule: &Schedule, step: u64, n_embd: usize) -> Update {
        let adam = AdamUpdate {
            lr: schedule.lr_at(step) as f32,
            beta1: self.beta1 as f32,
            beta2: self.beta2 as f32,
            eps: self.eps as f32,
            weight_decay: self.weight_decay as f32,
        };
        let hidden = self.optimizer.update(schedule, step);
        let width = if self.mup_base_width == 0 { 1.0 } else { self.mup_base_width as f32 / n_embd as f32 };
        Update {
            clip: self.clip as f32,
            adam,
            hidden,
            rates: LrMultipliers { layer_decay: self.layer_decay as f32, width, head: 1.0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adams_rates_are_scaled_from_the_width_that_they_were_found_at() {
        let schedule = Schedule { lr: 1.0, decay: Decay::Constant, warmup: 0, plans: Vec::new(), ended: Vec::new() };
        let rates = |mup_base_width, n_embd| {
            TrainSettings { mup_base_width, ..TrainSettings::paper() }.update(&schedule, 0, n_embd).rates
        };
        assert_eq!((rates(0, 96), rates(96, 96)), (LrMultipliers::EVEN, LrMultipliers::EVEN));
        assert_eq!((rates(64, 256).width, rates(64, 32).width), (0.25, 2.0));
    }
}
