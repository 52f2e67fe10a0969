//! The loop: batch, gradient, step; validation, samples, checkpoints and metrics where they are due.
//!
//! It knows engines, batches and files, but neither data sets nor palettes: [`crate::train::pretrain()`] brings those
//! together. Several ranks go through it in step: each computes its part of a batch and of the validation images, all
//! know the losses of all and come to the same decisions, rank 0's clock and files are the run's.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::data::{Batch, TokenSet};
use crate::device::{Engine, LossSum, TrainEngine};
use crate::ranks::losses;
use crate::train::checkpoint::{CheckpointMeta, Checkpoints};
use crate::train::config::{RunConfig, TrainSettings};
use crate::train::distributed::agreement::share_weights;
use crate::train::plan::overhead::ValidationPlan;
use crate::train::plan::planner::Planner;
use crate::train::run::dir::RunDir;
use crate::train::trainer::accumulation::{GradientAccumulation, expect_divisible, micro_batch};
use crate::train::trainer::context::Context;
use crate::train::trainer::ema;
use crate::train::trainer::metrics::{Metrics, MetricsRow};
use crate::train::trainer::noise::GradientNoise;
use crate::train::trainer::observer::{Event, RunStarted, StepReport};
use crate::train::trainer::quick_probe::QuickProbe;
use crate::train::trainer::time_spent::{Part, TimeSpent};
use crate::{Error, Result};

/// Draws the sample grid of a step, of so many images, into a file.
pub type SampleHook<'a> = &'a mut dyn FnMut(&dyn Engine, u64, usize, &Path) -> Result<()>;

/// Everything that the loop works with.
pub struct Trainer<'a> {
    /// The resolved config.
    pub config: &'a RunConfig,
    /// Where results go.
    pub run: &'a RunDir,
    /// Initialised, or restored from `start`.
    pub engine: &'a mut dyn TrainEngine,
    /// Gives this rank's part of the batch of the next step, from step `start.step` on.
    pub next: &'a mut dyn FnMut() -> Result<Batch>,
    /// Images to validate on, if there are any.
    pub validation: Option<&'a TokenSet>,
    /// Classifies images by the features of the middle layers at each validation; none doesn't.
    pub probe: Option<&'a QuickProbe>,
    /// Draws sample grids; none draws none. The number is that of the images.
    pub sample: Option<SampleHook<'a>>,
    /// Training images, for counting epochs.
    pub images: usize,
    /// Channels of the palette, for bits per dim.
    pub channels: usize,
    /// The checkpoint to go on from, or step 0.
    pub start: CheckpointMeta,
    /// The processes that train together, each of which has such a trainer, and who is told.
    pub context: Context<'a>,
}

/// Where the loop ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LoopOutcome {
    /// Optimiser steps taken.
    pub step: u64,
    /// Whether it was stopped from outside before its end.
    pub stopped: bool,
    /// Nats per token of the last step's batch; none when no step was left to take, or pixels are not trained on.
    pub train_loss: Option<f64>,
    /// Last validation loss measured.
    pub validation_loss: Option<f64>,
    /// Nats per label at the last validation, where a classifier is trained.
    pub class_loss: Option<f64>,
    /// Share of the validation images that were last classified rightly, where a classifier is trained.
    pub accuracy: Option<f64>,
    /// Lowest validation loss (of a classifier: share of errors), and after how many steps.
    pub best: Option<(f64, u64)>,
    /// Whether training ended before its budget, since the validations no longer got better.
    pub ended_early: bool,
    /// Validation images that a validation is of.
    pub validated: usize,
    /// Seconds of training, of earlier sessions too.
    pub elapsed_s: f64,
    /// What they were spent on.
    pub spent: TimeSpent,
    /// Seconds and steps since this start or resume.
    pub session: (f64, u64),
    /// The newest checkpoint.
    pub checkpoint: Option<PathBuf>,
}

impl LoopOutcome {
    /// Of no step at all.
    pub(in crate::train) fn untrained() -> Self {
        Self {
            step: 0,
            stopped: false,
            train_loss: None,
            validation_loss: None,
            class_loss: None,
            accuracy: None,
            best: None,
            ended_early: false,
            validated: 0,
            elapsed_s: 0.0,
            spent: TimeSpent::default(),
            session: (0.0, 0),
            checkpoint: None,
        }
    }
}

/// The loop's own state.
pub(super) struct Loop<'a> {
    pub(super) t: Trainer<'a>,
    pub(super) planner: Planner,
    /// What rank 0 writes.
    pub(super) files: Option<(Checkpoints, Metrics)>,
    clock: Instant,
    pub(super) outcome: LoopOutcome,
    /// Seconds of steps, those of them that were waited for batches, and steps at the last train row.
    pub(super) row: (f64, f64, u64),
    /// Seconds waited for batches since this start or resume.
    pub(super) awaited: f64,
    /// Lowest validation loss since the last extension, and validations since then that count against patience.
    pub(super) best_of_phase: Option<f64>,
    pub(super) waited: u64,
    /// Whether it is known how often samples are drawn.
    pub(super) knows_drawing: bool,
    pub(super) tokens_per_s: f64,
}

impl<'a> Trainer<'a> {
    /// Trains to the end of the budget, or until stopped.
    ///
    /// # Errors
    /// When the loss or the gradient is not finite (the last good checkpoint stays), when the engine or the data
    /// fail, and when the last checkpoint can't be written. A failure to write anything before that is only a
    /// warning, and the next checkpoint is tried again.
    pub fn run(self) -> Result<LoopOutcome> {
        let train = &self.config.train;
        expect_divisible(train.gradient_groups, self.context.ranks.size())?;
        let start = &self.start;
        let files = match self.context.ranks.leads() {
            true => {
                let metrics = Metrics::open(self.run.metrics(), start.step)?;
                Some((Checkpoints::open(self.run.checkpoints())?, metrics))
            }
            false => None,
        };
        let checkpoint = files.as_ref().filter(|_| start.step > 0).map(|(checkpoints, _)| checkpoints.path(start.step));
        let planner = Planner::new(train, self.images, &start.plans).evaluating(self.evaluation());
        let outcome = LoopOutcome {
            step: start.step,
            best: start.best_loss.zip(start.best_step),
            elapsed_s: start.elapsed_s,
            spent: start.spent,
            checkpoint,
            ..LoopOutcome::untrained()
        };
        Loop {
            row: (start.spent.steps, 0.0, start.step),
            best_of_phase: start.best_loss_of_phase.or(start.best_loss.filter(|_| train.phases.is_empty())),
            waited: start.validations_since_best,
            knows_drawing: self.sample.is_none() || train.sample_every.is_some(),
            t: self,
            planner,
            files,
            clock: Instant::now(),
            outcome,
            awaited: 0.0,
            tokens_per_s: 0.0,
        }
        .run()
    }

    /// What validations and probes cost.
    fn evaluation(&self) -> ValidationPlan {
        let images = self.validation.map_or(0, TokenSet::images);
        let planned = match self.config.finetune {
            Some(_) => ValidationPlan::of_classifier(images),
            None => {
                ValidationPlan::of_pretraining(&self.config.train, images, self.probe.map_or(0.0, QuickProbe::passes))
            }
        };
        match self.start.validated_images {
            Some(before) => planned.on(before),
            None => planned,
        }
    }
}

impl Loop<'_> {
    fn run(mut self) -> Result<LoopOutcome> {
        let train = self.t.config.train.clone();
        let n_ctx = self.t.engine.config().n_ctx();
        let group = train.batch / train.gradient_groups;
        let most = micro_batch(&train, group, n_ctx)?;
        let cuts = GradientAccumulation { groups: train.gradient_groups / self.t.context.ranks.size(), most };
        let first = self.t.start.step;
        self.write_config();
        self.t.context.observer.event(Event::Started(&RunStarted {
            network: self.t.engine.config().clone(),
            images: self.t.images,
            batch: train.batch,
            step: first,
            steps: self.planner.steps(first),
        }));
        self.draw_as_time_allows()?;
        self.tell_patience();
        let mut saved = None;
        while !self.planner.is_over(self.outcome.step) {
            if self.is_patience_over() {
                self.outcome.ended_early = true;
                break;
            }
            let start = Instant::now();
            let stepped = self.step(&train, cuts)?;
            self.outcome.spent.count(Part::Steps, start);
            if !stepped {
                self.outcome.stopped = true;
                break;
            }
            let step = self.outcome.step;
            let elapsed = self.common(Self::elapsed)?;
            let stepping = self.common(|run| run.outcome.spent.steps)?;
            if self.planner.first_plan_is_due(step, elapsed, stepping) {
                self.plan()?;
                self.tell_patience();
            }
            self.draw_as_time_allows()?;
            if self.planner.validates(step) {
                self.with_ema(|run| run.validate(most))?;
                if self.planner.new_plan_is_due(step) {
                    self.plan()?;
                }
            }
            if self.planner.samples(step) {
                self.with_ema(|run| run.sample(step))?;
            }
            if self.planner.saves(step) || self.is_best(step) {
                saved = self.save_or_warn();
            }
        }
        self.outcome.session = (self.clock.elapsed().as_secs_f64(), self.outcome.step - first);
        self.outcome.elapsed_s = self.elapsed();
        self.outcome.validated = self.planner.validated_images();
        if saved != Some(self.outcome.step) && (self.outcome.step > first || (self.outcome.stopped && first == 0)) {
            self.save()?;
        }
        Ok(self.outcome)
    }

    /// Images of so many steps.
    pub(super) fn images(&self, steps: u64) -> u64 {
        steps * self.t.config.train.batch as u64
    }

    pub(super) fn elapsed(&self) -> f64 {
        self.t.start.elapsed_s + self.clock.elapsed().as_secs_f64()
    }

    /// One optimiser step. Gives false, with the weights as they were, when stopped from outside.
    fn step(&mut self, train: &TrainSettings, cuts: GradientAccumulation) -> Result<bool> {
        if self.t.context.ranks.any(self.t.context.stop.load(Ordering::Relaxed))? {
            return Ok(false);
        }
        let index = self.outcome.step;
        let asked = Instant::now();
        let batch = (self.t.next)()?;
        self.awaited += asked.elapsed().as_secs_f64();
        let Some(own) = cuts.run(self.t.engine, &batch, self.t.context.ranks, self.t.context.stop)? else {
            return Ok(false);
        };
        let right = right_ones(&own.losses, &batch);
        let (sum, right) = losses::gather(self.t.context.ranks, own.losses, right)?;
        let images = train.batch;
        let (loss, class_loss) = ((sum.tokens > 0).then(|| sum.mean()), class_loss(&sum));
        let step = index + 1;
        if let Some(loss) = [loss, class_loss].into_iter().flatten().find(|loss| !loss.is_finite()) {
            return self.refuse(Error::NotFinite { step, loss });
        }
        let lr = self.planner.schedule().lr_at(index);
        let n_embd = self.t.engine.config().n_embd;
        let norm = self.t.engine.step(&self.t.config.update(self.planner.schedule(), index, n_embd))?;
        if !norm.is_finite() {
            return self.refuse(Error::GradientNotFinite { step, norm });
        }
        share_weights(self.t.context.ranks, self.t.engine)?;
        if train.ema > 0.0 {
            self.t.engine.update_ema(ema::share(train.ema, index))?;
        }
        self.outcome.step = step;
        self.outcome.train_loss = loss;
        let elapsed_s = self.elapsed();
        if self.planner.logs(step) {
            let accuracy = right.map(|right| right as f64 / images as f64);
            let noise = own.squares.map(|sum| GradientNoise::of(images, norm.into(), train.gradient_groups, sum));
            let (gradient_signal, gradient_noise) = noise.map(|found| (found.signal, found.noise)).unzip();
            let blank = self.blank_row("train", loss);
            let found = MetricsRow { class_loss, accuracy, gradient_signal, gradient_noise, ..blank };
            let seconds = self.outcome.spent.steps + asked.elapsed().as_secs_f64();
            self.train_row(found, lr, norm, seconds);
        }
        let steps = self.planner.steps(step);
        let left_s = steps.map(|steps| {
            let (done, left) = (step - self.t.start.step, steps.saturating_sub(step));
            self.clock.elapsed().as_secs_f64() / done as f64 * left as f64
        });
        let tokens_per_s = self.tokens_per_s;
        self.t.context.observer.event(Event::Step(&StepReport {
            step,
            steps,
            loss,
            class_loss,
            lr,
            tokens_per_s,
            elapsed_s,
            left_s,
        }));
        Ok(true)
    }

    pub(super) fn refuse<T>(&mut self, error: Error) -> Result<T> {
        self.t.run.log(&error.to_string());
        Err(error)
    }

    /// Does something with the average of the weights, if one is kept, in place of them.
    pub(super) fn with_ema(&mut self, mut act: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        self.t.engine.swap_ema()?;
        act(self)?;
        self.t.engine.swap_ema()
    }
}

/// Nats per label, if a classifier was trained or evaluated.
pub(super) fn class_loss(sum: &LossSum) -> Option<f64> {
    (!sum.class_nats.is_empty()).then(|| sum.class_mean())
}

/// How many of a batch's images were classified rightly, if any were classified.
pub(super) fn right_ones(sum: &LossSum, batch: &Batch) -> Option<usize> {
    let labels = batch.labels().filter(|labels| labels.len() == sum.predicted.len())?;
    Some(labels.iter().zip(&sum.predicted).filter(|(label, predicted)| label == predicted).count())
}
