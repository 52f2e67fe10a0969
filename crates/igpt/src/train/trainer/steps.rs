//! Training loop: batch, gradient, step; validation, samples, checkpoints and metrics when they are due.
//!
//! It knows engines, batches and files, but neither data sets nor palettes: [`crate::train::pretrain()`] combines
//! those. Several ranks run it in lockstep: each computes its part of a batch and of the validation images. All know
//! the losses of all and make the same decisions. Clock and files of rank 0 are the run's.

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

/// Callback that samples a grid into a file; its arguments are engine, step, number of images, and path.
pub type SampleHook<'a> = &'a mut dyn FnMut(&dyn Engine, u64, usize, &Path) -> Result<()>;

/// Training loop with everything that it works on.
pub struct Trainer<'a> {
    /// Resolved config of the run.
    pub config: &'a RunConfig,
    /// Run directory for the results.
    pub run: &'a RunDir,
    /// Engine to train, initialised or restored from `start`.
    pub engine: &'a mut dyn TrainEngine,
    /// Source of batches: returns this rank's part of the next step's batch, from step `start.step` on.
    pub next: &'a mut dyn FnMut() -> Result<Batch>,
    /// Validation images, if there are any.
    pub validation: Option<&'a TokenSet>,
    /// Quick probe of the middle layers at validations; `None` turns it off.
    pub probe: Option<&'a QuickProbe>,
    /// Callback that draws sample grids; `None` turns them off.
    pub sample: Option<SampleHook<'a>>,
    /// Number of training images, to count epochs.
    pub images: usize,
    /// Number of channels of the palette, for bits per dim.
    pub channels: usize,
    /// Checkpoint to resume from, or step 0.
    pub start: CheckpointMeta,
    /// Ranks that train together (each has such a trainer), observer, and stop flag.
    pub context: Context<'a>,
}

/// Results of the training loop.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TrainOutcome {
    /// Optimizer steps taken.
    pub step: u64,
    /// Whether the run was stopped from outside before its end.
    pub stopped: bool,
    /// Training loss of the last step's batch in nats per token; `None` without a step, or if pixels are not trained
    /// on.
    pub train_loss: Option<f64>,
    /// Last measured validation loss, in nats per token.
    pub validation_loss: Option<f64>,
    /// Classification loss at the last validation in nats per label, if a classifier is trained.
    pub class_loss: Option<f64>,
    /// Accuracy at the last validation, if a classifier is trained.
    pub accuracy: Option<f64>,
    /// Lowest validation loss (for a classifier, lowest error rate), and the step where it was measured.
    pub best: Option<(f64, u64)>,
    /// Whether early stopping ended training before its budget, since validations no longer improved.
    pub ended_early: bool,
    /// Number of images in a validation.
    pub validated: usize,
    /// Seconds of training, including earlier sessions.
    pub elapsed_s: f64,
    /// Seconds of training by activity.
    pub spent: TimeSpent,
    /// Seconds and steps since this start or resume.
    pub session: (f64, u64),
    /// Path of the newest checkpoint.
    pub checkpoint: Option<PathBuf>,
}

impl TrainOutcome {
    /// Outcome without any step.
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

/// State of the training loop.
pub(super) struct Loop<'a> {
    pub(super) t: Trainer<'a>,
    pub(super) planner: Planner,
    /// Files that rank 0 writes.
    pub(super) files: Option<(Checkpoints, Metrics)>,
    clock: Instant,
    pub(super) outcome: TrainOutcome,
    /// At the last train row: seconds of steps so far, seconds waited for batches since the session began, and the
    /// step.
    pub(super) row: (f64, f64, u64),
    /// Seconds waited for batches since this start or resume.
    pub(super) awaited: f64,
    /// Lowest validation loss since the last extension, and validations since then that count against patience.
    pub(super) best_of_phase: Option<f64>,
    pub(super) waited: u64,
    /// Whether the interval of samples is decided.
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
    pub fn run(self) -> Result<TrainOutcome> {
        let train = &self.config.train;
        expect_divisible(train.gradient_groups, self.context.ranks.size())?;
        let start = &self.start;
        let files = match self.context.ranks.is_leader() {
            true => {
                let metrics = Metrics::open(self.run.metrics(), start.step)?;
                Some((Checkpoints::open(self.run.checkpoints())?, metrics))
            }
            false => None,
        };
        let checkpoint = files.as_ref().filter(|_| start.step > 0).map(|(checkpoints, _)| checkpoints.path(start.step));
        let planner = Planner::new(train, self.images, &start.plans).with_validation_plan(self.evaluation());
        let outcome = TrainOutcome {
            step: start.step,
            best: start.best_loss.zip(start.best_step),
            elapsed_s: start.elapsed_s,
            spent: start.spent,
            checkpoint,
            ..TrainOutcome::untrained()
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

    /// Plan of validations and probes, for their cost.
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
    fn run(mut self) -> Result<TrainOutcome> {
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

    /// Images that `steps` steps train on.
    pub(super) fn images(&self, steps: u64) -> u64 {
        steps * self.t.config.train.batch as u64
    }

    pub(super) fn elapsed(&self) -> f64 {
        self.t.start.elapsed_s + self.clock.elapsed().as_secs_f64()
    }

    /// Takes one optimizer step. Returns false, with the weights unchanged, if stopped from outside.
    fn step(&mut self, train: &TrainSettings, cuts: GradientAccumulation) -> Result<bool> {
        if self.t.context.ranks.any_rank(self.t.context.stop.load(Ordering::Relaxed))? {
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
            let noise =
                own.group_squared_norms.map(|sum| GradientNoise::of(images, norm.into(), train.gradient_groups, sum));
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

    /// Runs `act` with the exponential moving average, if one is kept, in place of the weights.
    pub(super) fn with_ema(&mut self, mut act: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        self.t.engine.swap_ema()?;
        act(self)?;
        self.t.engine.swap_ema()
    }
}

/// Classification loss in nats per label, if a classifier was trained or evaluated.
pub(super) fn class_loss(sum: &LossSum) -> Option<f64> {
    (!sum.class_nats.is_empty()).then(|| sum.class_mean())
}

/// Number of a batch's images that were classified rightly, if any were classified.
pub(super) fn right_ones(sum: &LossSum, batch: &Batch) -> Option<usize> {
    let labels = batch.labels().filter(|labels| labels.len() == sum.predicted.len())?;
    Some(labels.iter().zip(&sum.predicted).filter(|(label, predicted)| label == predicted).count())
}
