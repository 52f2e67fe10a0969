//! Section `[train]`: every setting of training with its default, and the values that the trainer derives from them.

use serde::{Deserialize, Serialize};

use crate::device::{AdamUpdate, Device, Precision, Update};
use crate::model::{Initialization, LrMultipliers, ModelConfig, Objective, SaveType, initial_weights};
use crate::train::config::keep::Keep;
use crate::train::config::optimizer::{self, OptimizerSettings};
use crate::train::config::planned::{RunPhase, StepPlan};
use crate::train::config::recipe::Recipe;
use crate::train::config::schedule::{Decay, Schedule};

/// Settings of training: section `[train]` of a run's configuration.
///
/// The default is pretraining by the default [`Recipe`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default = "TrainSettings::paper", deny_unknown_fields)]
#[non_exhaustive]
pub struct TrainSettings {
    /// Recipe: the bundle of settings below all files and flags.
    pub recipe: Recipe,
    /// Training objective: predict the next pixel (`autoregressive`) or masked pixels (`masked`).
    pub objective: Objective,
    /// Probability that a position is masked, for the objective `masked`; by default 0.15, or that of the model to
    /// fine-tune.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask_prob: Option<f64>,
    /// Budget in optimizer steps.
    ///
    /// A config has exactly one of `steps`, `epochs` and `minutes`. Fine-tuning may have none: then it takes three
    /// passes over the images, or 1,000 steps if that is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Budget in epochs: passes over the training images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<f64>,
    /// Budget in minutes of training, validations and samples included; see [`StepPlan`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minutes: Option<f64>,
    /// Images per optimizer step (batch size); 0 chooses about 4096 tokens.
    #[doc(alias = "batch_size")]
    pub batch: usize,
    /// Images per micro-batch of gradient accumulation; 0 chooses about 4096 tokens, or 2048 for one thread.
    ///
    /// The value does not change a bit of the result.
    pub micro_batch: usize,
    /// Activation checkpointing: whether the backward pass recomputes each block's activations instead of keeping them.
    ///
    /// It costs a third more arithmetic and saves most of the activations' memory. By default it is on only if the
    /// activations don't fit otherwise. The value does not change a bit of the result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recompute: Option<bool>,
    /// Whether each block's weights are packed for the matrix products whenever a pass reaches it, instead of kept
    /// packed.
    ///
    /// This saves memory, costs a little time, and draws no samples during training. By default it is on only if the
    /// packed weights don't fit otherwise. The value does not change a bit of the result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_weights: Option<bool>,
    /// Number of equal parts of a batch whose gradients are summed by a binary tree: a power of two, divided among the
    /// ranks.
    pub gradient_groups: usize,
    /// Initialisation of a new network: `paper`, or `grid`, whose position embeddings start as waves.
    pub init: Initialization,
    /// Optimizer of the hidden matrices, with its own settings; Adam updates all other parameters.
    #[serde(deserialize_with = "optimizer::read")]
    pub optimizer: OptimizerSettings,
    /// Peak learning rate of Adam.
    #[doc(alias = "learning_rate")]
    pub lr: f64,
    /// Layer-wise learning-rate decay: the ratio of a block's rates to those of the block above, for either optimizer.
    ///
    /// 1 trains all blocks alike. The embeddings belong to the first block, the final norm and the output matrix to the
    /// last.
    pub layer_decay: f64,
    /// Width at which `lr` was found, for a transfer to networks of other widths (µP for Adam: Yang et al. 2022, table
    /// 3).
    ///
    /// Adam's rate of matrices that sum over the width (inside blocks, and the output matrix) is multiplied by
    /// `mup_base_width` / `n_embd`. The rate of embeddings, gains and biases is not. 0 uses `lr` for all. Muon's rate
    /// and the initialisation stay the same.
    pub mup_base_width: usize,
    /// Learning-rate schedule after the warm-up: a `cosine` or `linear` decay to zero, or `constant`.
    pub schedule: Decay,
    /// Adam's decay of the first moment.
    pub beta1: f64,
    /// Adam's decay of the second moment.
    pub beta2: f64,
    /// Adam's epsilon, added to the square root of the second moment.
    pub eps: f64,
    /// Largest global gradient norm; 0 turns clipping off.
    pub clip: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Decay of an exponential moving average (EMA) of the weights, such as 0.999; 0 keeps none.
    ///
    /// Validations, samples, probes and the finished model then use the average. It takes the memory of the weights
    /// once more.
    pub ema: f64,
    /// Warm-up in epochs; one epoch if no warm-up is given.
    ///
    /// It lasts at most half of the run in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_epochs: Option<f64>,
    /// Warm-up in steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_steps: Option<u64>,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Device that computes the network: `auto` (the fastest one present), `cpu`, or for example `cuda:1`.
    pub device: Device,
    /// Number format inside matrix products.
    pub precision: Precision,
    /// Number format of the weights in the finished model directory; checkpoints are always exact.
    pub save: SaveType,
    /// Number of threads; 0 is one per available core.
    ///
    /// The value does not change a bit of the result.
    pub threads: usize,
    /// Steps between validations; 0 validates only at the end.
    ///
    /// By default there are twenty validations in a run, at most 1000 steps apart. There are fewer if they would take
    /// more than a fifteenth of the run (for a classifier, a sixth).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_every: Option<u64>,
    /// Images of the validation split that a validation scores, always the first ones; 0 is all.
    ///
    /// The default is 512, or fewer if ten validations would otherwise take more than a fifteenth of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_images: Option<usize>,
    /// Steps between sample grids; 0 draws only one at the end.
    ///
    /// By default there are four in a run, or fewer if they would take more than a thirtieth of its time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_every: Option<u64>,
    /// Images in a sample grid; 0 draws none.
    ///
    /// The default is 16, or fewer if even one grid would take more than a thirtieth of the run's time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_images: Option<usize>,
    /// Labelled training images of the quick probe of the middle layers during pretraining; 0 turns it off.
    ///
    /// The probe measures its accuracy on half as many validation images: `probe_accuracy` in the metrics. It costs a
    /// forward pass of all these images through two thirds of the network. A given number is probed at every
    /// validation. The default, if there are labels, is at most 512, and as often as fits into a thirtieth of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe_images: Option<usize>,
    /// Steps between checkpoints, beside those of each best validation (see `keep`); 0 saves only these and the last.
    ///
    /// By default a checkpoint follows every validation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_every: Option<u64>,
    /// Weights of the finished model: those with the lowest validation loss (`best`), or those of the `last` step.
    ///
    /// A classifier always has the weights with the highest validation accuracy.
    pub keep: Keep,
    /// Patience of early stopping: the number of validations in a row without improvement after which training ends.
    ///
    /// Improvement is a lower loss, or for a classifier a higher accuracy. 0 trains to the end of the budget. The
    /// default is a quarter of the run's validations and at least 5, or 0 if `keep` is `last`. For a classifier it is
    /// 10, unless its recipe sets it (modern: 0).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[doc(alias = "early_stopping")]
    pub patience: Option<u64>,
    /// Number of newest checkpoints to keep, in addition to the best by validation loss.
    pub keep_last: usize,
    /// Interval in steps of the checkpoints that are never deleted; 0 for none.
    pub keep_every: u64,
    /// Plans that a run of `minutes` made, as written into the resolved config; a run whose config has plans follows
    /// them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<StepPlan>,
    /// Phases of the run before it was extended, oldest first.
    ///
    /// The budget is that of the phase after them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<RunPhase>,
}

/// Tokens per step of the default batch: small steps learn most in little time, and this many keep matrix products
/// efficient.
const TOKENS_OF_A_STEP: usize = 4096;

/// Default number of images of a validation or a probe.
const MOST_EVALUATED: usize = 512;

impl TrainSettings {
    /// Settings of [`Recipe::Paper`], the base of every recipe: those of Chen et al. 2020, section 3.4, where it states
    /// them.
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

    /// Number of validation images to prepare, out of `available`.
    pub fn validated_images(&self, available: usize) -> usize {
        match self.eval_images {
            Some(0) => available,
            images => images.unwrap_or(MOST_EVALUATED).min(available),
        }
    }

    /// Number of tiles in a validation of a model that reads tiles.
    pub fn validated_tiles(&self) -> usize {
        self.eval_images.filter(|images| *images > 0).unwrap_or(MOST_EVALUATED)
    }

    /// Number of labelled training images for the quick probe.
    pub fn probed_images(&self) -> usize {
        self.probe_images.unwrap_or(match self.eval_images {
            None | Some(0) => MOST_EVALUATED,
            Some(images) => images.min(MOST_EVALUATED),
        })
    }

    /// Images of a sample grid, unless drawing takes too long.
    pub fn drawn_images(&self) -> usize {
        self.sample_images.unwrap_or(16)
    }

    /// Initial weights of a new `network`, in the order of [`ParamLayout`](crate::model::ParamLayout).
    pub fn initial_weights(&self, network: &ModelConfig) -> Vec<f32> {
        initial_weights(network, self.init, self.seed)
    }

    /// Sets the batch size, if it is left open, for images of `n_ctx` tokens.
    pub(crate) fn resolve(&mut self, n_ctx: usize) {
        if self.batch == 0 {
            let images = (TOKENS_OF_A_STEP as f64 / n_ctx as f64).round() as usize;
            self.batch = images.max(1).next_multiple_of(self.gradient_groups);
        }
    }

    /// Steps and seconds of training at which the budget begins: those of earlier phases.
    pub fn budget_start(&self) -> (u64, f64) {
        self.phases.last().map_or((0, 0.0), |phase| (phase.steps, phase.seconds))
    }

    /// Steps of the budget over `images` training images; `None` for a budget of minutes.
    pub(crate) fn fixed_steps(&self, images: usize) -> Option<u64> {
        let epoch = images as f64 / self.batch as f64;
        self.steps.or(self.epochs.map(|epochs| ((epochs * epoch).round() as u64).max(1)))
    }

    /// Peak learning rate of the optimizer: its own, or Adam's if it has none.
    pub fn peak_lr(&self) -> f64 {
        self.optimizer.own_rate().unwrap_or(self.lr)
    }

    /// Sets the peak learning rate of the optimizer; if that is not Adam, Adam's rate changes in the same ratio.
    pub fn set_peak_lr(&mut self, rate: f64) {
        self.lr = match self.optimizer.own_rate() {
            Some(own) => rate * (self.lr / own),
            None => rate,
        };
        self.optimizer.set_own_rate(rate);
    }

    /// Update of optimizer step `step` (from 0) under `schedule`, for a network of width `n_embd`.
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
        assert_eq!((rates(0, 96), rates(96, 96)), (LrMultipliers::ONES, LrMultipliers::ONES));
        assert_eq!((rates(64, 256).width, rates(64, 32).width), (0.25, 2.0));
    }
}
