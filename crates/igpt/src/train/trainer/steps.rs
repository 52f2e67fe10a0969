//! The loop: batch, gradient, step; validation, samples, checkpoints and metrics where they are due.
//!
//! It knows engines, batches and files, but neither data sets nor palettes: [`crate::train::pretrain()`] brings those
//! together. Several ranks go through it in step: each computes its part of a batch and of the validation images, all
//! know the losses of all and come to the same decisions, rank 0's clock and files are the run's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::data::{Batch, Masking, TokenSet};
use crate::device::{Engine, LossSum, TrainEngine};
use crate::files;
use crate::model::Objective;
use crate::ranks::losses;
use crate::train::checkpoint::{Checkpoints, Meta};
use crate::train::config::{RunConfig, TrainSection};
use crate::train::distributed::agreement::{share_weights, write_shards};
use crate::train::distributed::said::agreed;
use crate::train::plan::planner::Planner;
use crate::train::run::dir::RunDir;
use crate::train::trainer::accumulation::{Accumulation, even_runs, expect_divisible, micro_batch};
use crate::train::trainer::average;
use crate::train::trainer::context::Context;
use crate::train::trainer::metrics::{Metrics, Row};
use crate::train::trainer::noise::Noise;
use crate::train::trainer::observer::{Event, Started, StepReport};
use crate::train::trainer::quick_probe::{Probed, RunProbe};
use crate::{Error, Result};

/// Draws the sample grid of `step` into a file.
pub type SampleHook<'a> = &'a mut dyn FnMut(&dyn Engine, u64, &Path) -> Result<()>;

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
    pub probe: Option<&'a RunProbe>,
    /// Draws sample grids; none draws none.
    pub sample: Option<SampleHook<'a>>,
    /// Training images, for counting epochs.
    pub images: usize,
    /// Channels of the palette, for bits per dim.
    pub channels: usize,
    /// The checkpoint to go on from, or step 0.
    pub start: Meta,
    /// The processes that train together, each of which has such a trainer, and who is told.
    pub context: Context<'a>,
}

/// Where the loop ended.
#[derive(Clone, Debug)]
pub struct Outcome {
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
    /// Seconds of training, of earlier sessions too.
    pub elapsed_s: f64,
    /// Seconds and steps since this start or resume.
    pub session: (f64, u64),
    /// The newest checkpoint.
    pub checkpoint: Option<PathBuf>,
}

impl Outcome {
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
            elapsed_s: 0.0,
            session: (0.0, 0),
            checkpoint: None,
        }
    }
}

/// The loop's own state.
struct Loop<'a> {
    t: Trainer<'a>,
    planner: Planner,
    /// What rank 0 writes.
    files: Option<(Checkpoints, Metrics)>,
    clock: Instant,
    outcome: Outcome,
    /// Time, waiting seconds and steps since the last train row.
    row: (Instant, f64, u64),
    /// Validations since the best.
    waited: u64,
    tokens_per_s: f64,
}

impl<'a> Trainer<'a> {
    /// Trains to the end of the budget, or until stopped.
    ///
    /// # Errors
    /// When the loss or the gradient is not finite (the last good checkpoint stays), when the engine or the data
    /// fail, and when the last checkpoint can't be written. A failure to write anything before that is only a
    /// warning, and the next checkpoint is tried again.
    pub fn run(self) -> Result<Outcome> {
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
        let planner = Planner::new(train, self.images, &start.plans);
        let planner = match self.validation.filter(|_| self.config.finetune.is_some()) {
            Some(set) => planner.for_classifier(set.images(), train.batch),
            None => planner,
        };
        let best = start.best_loss.zip(start.best_step);
        let (step, elapsed_s) = (start.step, start.elapsed_s);
        let outcome = Outcome { step, best, elapsed_s, checkpoint, ..Outcome::untrained() };
        let now = Instant::now();
        let row = (now, 0.0, start.step);
        let waited = start.validations_since_best;
        Loop { t: self, planner, files, clock: now, outcome, row, waited, tokens_per_s: 0.0 }.run()
    }
}

impl Loop<'_> {
    fn run(mut self) -> Result<Outcome> {
        let train = self.t.config.train.clone();
        let n_ctx = self.t.engine.config().n_ctx();
        let group = train.batch / train.gradient_groups;
        let most = micro_batch(&train, group, n_ctx)?;
        let cuts = Accumulation { groups: train.gradient_groups / self.t.context.ranks.size(), most };
        let first = self.t.start.step;
        self.write_config();
        self.t.context.observer.event(Event::Started(&Started {
            network: self.t.engine.config().clone(),
            images: self.t.images,
            batch: train.batch,
            step: first,
            steps: self.planner.steps(first),
        }));
        let mut saved = None;
        while !self.planner.is_over(self.outcome.step) && !self.is_patience_over() {
            if !self.step(&train, cuts)? {
                self.outcome.stopped = true;
                break;
            }
            let step = self.outcome.step;
            let elapsed = self.common_elapsed()?;
            let planned = self.planner.after_step(step, elapsed);
            self.tell_plan(planned);
            if self.planner.validates(step) {
                self.averaged(|run| run.validate(most))?;
                let elapsed = self.common_elapsed()?;
                let planned = self.planner.after_validation(step, elapsed);
                self.tell_plan(planned);
            }
            if self.planner.samples(step) {
                self.averaged(|run| run.sample(step))?;
            }
            if self.planner.saves(step) || self.is_best_classifier(step) {
                saved = self.save_or_warn();
            }
        }
        self.outcome.session = (self.clock.elapsed().as_secs_f64(), self.outcome.step - first);
        self.outcome.elapsed_s = self.elapsed();
        if saved != Some(self.outcome.step) && (self.outcome.step > first || (self.outcome.stopped && first == 0)) {
            self.save()?;
        }
        Ok(self.outcome)
    }

    /// Whether the accuracy has not risen for as many validations as the config allows.
    fn is_patience_over(&self) -> bool {
        let patience = self.t.config.finetune.as_ref().map_or(0, |finetune| finetune.patience);
        patience > 0 && self.waited >= patience
    }

    /// Whether `step` was the best validation of a classifier, whose weights must be there at the end.
    fn is_best_classifier(&self, step: u64) -> bool {
        self.t.config.finetune.is_some() && self.outcome.best.is_some_and(|(_, best)| best == step)
    }

    /// Images of so many steps.
    fn images(&self, steps: u64) -> u64 {
        steps * self.t.config.train.batch as u64
    }

    fn elapsed(&self) -> f64 {
        self.t.start.elapsed_s + self.clock.elapsed().as_secs_f64()
    }

    /// The same on every rank where that decides anything.
    fn common_elapsed(&mut self) -> Result<f64> {
        let own = self.elapsed();
        if self.t.config.train.minutes.is_some() { self.t.context.ranks.first(own) } else { Ok(own) }
    }

    /// One optimiser step. Gives false, with the weights as they were, when stopped from outside.
    fn step(&mut self, train: &TrainSection, cuts: Accumulation) -> Result<bool> {
        if self.t.context.ranks.any(self.t.context.stop.load(Ordering::Relaxed))? {
            return Ok(false);
        }
        let index = self.outcome.step;
        let asked = Instant::now();
        let batch = (self.t.next)()?;
        self.row.1 += asked.elapsed().as_secs_f64();
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
            self.t.engine.follow_average(average::share(train.ema, index))?;
        }
        self.outcome.step = step;
        self.outcome.train_loss = loss;
        let elapsed_s = self.elapsed();
        if self.planner.logs(step) {
            let accuracy = right.map(|right| right as f64 / images as f64);
            let noise = own.squares.map(|sum| Noise::of(images, norm.into(), train.gradient_groups, sum));
            let (gradient_signal, gradient_noise) = noise.map(|found| (found.signal, found.noise)).unzip();
            let blank = self.blank_row("train", loss);
            let found = Row { class_loss, accuracy, gradient_signal, gradient_noise, ..blank };
            self.train_row(found, lr, norm);
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

    fn refuse<T>(&mut self, error: Error) -> Result<T> {
        self.t.run.log(&error.to_string());
        Err(error)
    }

    fn blank_row(&self, split: &str, loss: Option<f64>) -> Row {
        let loss = loss.unwrap_or(f64::NAN);
        let images = self.images(self.outcome.step);
        Row {
            step: self.outcome.step,
            tokens: images * self.t.engine.config().n_ctx() as u64,
            epoch: images as f64 / self.t.images as f64,
            split: split.into(),
            loss,
            bits_per_dim: bits_per_dim(loss, self.t.channels),
            class_loss: None,
            accuracy: None,
            lr: None,
            grad_norm: None,
            gradient_signal: None,
            gradient_noise: None,
            tokens_per_s: None,
            step_ms: None,
            data_wait_ms: None,
            device: None,
            peak_rss_mb: None,
            probe_accuracy: None,
            probe_layer: None,
            elapsed_s: self.elapsed(),
        }
    }

    fn train_row(&mut self, found: Row, lr: f64, norm: f32) {
        let (since, waited, from) = self.row;
        let steps = (self.outcome.step - from) as f64;
        let seconds = since.elapsed().as_secs_f64().max(1e-9);
        let images = self.images(self.outcome.step - from);
        self.tokens_per_s = (images * self.t.engine.config().n_ctx() as u64) as f64 / seconds;
        let row = Row {
            lr: Some(lr),
            grad_norm: Some(norm as f64),
            tokens_per_s: Some(self.tokens_per_s),
            step_ms: Some(1e3 * seconds / steps),
            data_wait_ms: Some(1e3 * waited / steps),
            device: Some(self.t.config.train.device.to_string()),
            peak_rss_mb: crate::machine::peak_rss_bytes().map(|bytes| bytes as f64 / f64::from(1 << 20)),
            ..found
        };
        self.write_row(&row);
        self.row = (Instant::now(), 0.0, self.outcome.step);
    }

    fn write_row(&mut self, row: &Row) {
        let Some((_, metrics)) = &mut self.files else { return };
        if let Err(error) = metrics.write(row) {
            self.warn(&format!("a row of metrics is lost: {error}"));
        }
    }

    fn warn(&mut self, text: &str) {
        self.t.run.log(&format!("warning: {text}"));
        self.t.context.observer.event(Event::Warning(text));
    }

    /// Loss over the validation images, whatever their number, each rank over its part; leaves the training state
    /// alone.
    fn validate(&mut self, most: usize) -> Result<()> {
        let Some(set) = self.t.validation else { return Ok(()) };
        let network = self.t.engine.config();
        let masked = network.objective == Objective::Masked;
        let masking = masked.then(|| Masking::evaluation(network.mask_prob, 0));
        let (mut own, mut right) = (LossSum::default(), None);
        for run in even_runs(self.t.context.ranks.share(set.images()), most) {
            let batch = set.batch(run.clone());
            let batch = match masking {
                Some(masking) => masking.mask(batch, run.start as u64),
                None => batch,
            };
            let found = self.t.engine.evaluate(&batch)?;
            right = right_ones(&found, &batch).map(|more| more + right.unwrap_or(0)).or(right);
            own.extend(found);
        }
        let (sum, right) = losses::gather(self.t.context.ranks, own, right)?;
        let (step, loss, class_loss) = (self.outcome.step, sum.mean(), class_loss(&sum));
        if let Some(loss) = [Some(loss), class_loss].into_iter().flatten().find(|loss| !loss.is_finite()) {
            return self.refuse(Error::NotFinite { step, loss });
        }
        let accuracy = class_loss.map(|_| right.unwrap_or(0) as f64 / set.images() as f64);
        let measure = accuracy.map_or(loss, |accuracy| 1.0 - accuracy);
        let best = self.outcome.best.is_none_or(|(lowest, _)| measure < lowest);
        self.waited += 1;
        if best {
            (self.outcome.best, self.waited) = (Some((measure, step)), 0);
        }
        let outcome = &mut self.outcome;
        (outcome.validation_loss, outcome.class_loss, outcome.accuracy) = (Some(loss), class_loss, accuracy);
        let mut row = Row { class_loss, accuracy, ..self.blank_row("validation", Some(loss)) };
        let share = accuracy.map_or(String::new(), |accuracy| format!(", accuracy {:.2} %", 100.0 * accuracy));
        self.t.run.log(&format!("step {step}: validation loss {loss:.4}{share}"));
        match self.t.probe.map(|probe| probe.run(self.t.engine)).transpose() {
            Ok(Some(Probed { accuracy, layer })) => {
                (row.probe_accuracy, row.probe_layer) = (Some(accuracy), Some(layer));
                self.t.run.log(&format!("step {step}: probe accuracy {accuracy:.4} at layer {layer}"));
            }
            Ok(None) => {}
            Err(error) => self.warn(&format!("no probe at step {step}: {error}")),
        }
        row.elapsed_s = self.elapsed();
        self.write_row(&row);
        let bits_per_dim = row.bits_per_dim;
        self.t.context.observer.event(Event::Validated { step, loss, bits_per_dim, accuracy, best });
        // Validation is no part of a step's time.
        self.row = (self.row.0 + self.row_pause(), self.row.1, self.row.2);
        Ok(())
    }

    /// Does something with the average of the weights, if one is kept, in place of them.
    fn averaged(&mut self, mut act: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        self.t.engine.swap_average()?;
        act(self)?;
        self.t.engine.swap_average()
    }

    /// How long ago the row began if nothing was trained since.
    fn row_pause(&self) -> std::time::Duration {
        if self.row.2 == self.outcome.step { self.row.0.elapsed() } else { std::time::Duration::ZERO }
    }

    fn sample(&mut self, step: u64) -> Result<()> {
        let path = self.t.run.sample(step);
        let Some(hook) = &mut self.t.sample else { return Ok(()) };
        match hook(self.t.engine, step, &path) {
            Ok(()) => self.t.context.observer.event(Event::Sampled(&path)),
            Err(error) => self.warn(&format!("no samples at step {step}: {error}")),
        }
        self.row = (self.row.0 + self.row_pause(), self.row.1, self.row.2);
        Ok(())
    }

    fn tell_plan(&mut self, plan: Option<crate::train::Plan>) {
        let Some(plan) = plan else { return };
        self.t.run.log(&format!("step {}: planned {} steps in all", plan.from_step, plan.steps));
        self.write_config();
        self.t.context.observer.event(Event::Planned(plan.steps));
    }

    /// The resolved config, with the plans made so far.
    fn write_config(&mut self) {
        if !self.t.context.ranks.leads() {
            return;
        }
        let mut config = self.t.config.clone();
        config.train.plan = self.planner.plans(&config.train).to_vec();
        if let Err(error) = files::write(&self.t.run.config(), config.to_toml().as_bytes()) {
            self.warn(&format!("the plan is not written: {error}"));
        }
    }

    /// Saves a checkpoint on the way; a failure is a warning. Gives the step if it is saved.
    fn save_or_warn(&mut self) -> Option<u64> {
        match self.save() {
            Ok(()) => Some(self.outcome.step),
            Err(error) => {
                self.warn(&format!("no checkpoint at step {}, training goes on: {error}", self.outcome.step));
                None
            }
        }
    }

    /// Saves a checkpoint; whether that works is the same on every rank.
    fn save(&mut self) -> Result<()> {
        let checkpoints = self.files.as_ref().map(|(checkpoints, _)| checkpoints);
        let root = self.t.run.checkpoints();
        let shards = write_shards(self.t.context.ranks, self.t.engine, checkpoints, &root, self.outcome.step)?;
        let saved = self.save_rest(shards);
        if self.t.context.ranks.size() == 1 {
            return saved;
        }
        agreed(self.t.context.ranks, saved.map(|()| String::new())).map(|_| ())
    }

    /// What rank 0 alone saves, when the `shards` of the others are there.
    fn save_rest(&mut self, shards: BTreeMap<String, String>) -> Result<()> {
        let Some((checkpoints, _)) = &self.files else { return Ok(()) };
        let step = self.outcome.step;
        let train = &self.t.config.train;
        let images = self.images(step);
        let mut meta = Meta::new(step, images, self.t.images, &self.t.start.palette_hash, self.t.config);
        meta.elapsed_s = self.elapsed();
        meta.data.clone_from(&self.t.start.data);
        (meta.best_loss, meta.best_step) = self.outcome.best.unzip();
        meta.validations_since_best = self.waited;
        meta.plans = self.planner.plans(train).to_vec();
        meta.files = shards;
        let path = checkpoints.save(self.t.engine, &meta)?;
        checkpoints.prune(train.keep_last, train.keep_every, meta.best_step)?;
        self.t.run.log(&format!("step {step}: saved {}", path.display()));
        self.t.context.observer.event(Event::Saved(&path));
        self.outcome.checkpoint = Some(path);
        self.row = (self.row.0 + self.row_pause(), self.row.1, self.row.2);
        Ok(())
    }
}

/// Nats per label, if a classifier was trained or evaluated.
fn class_loss(sum: &LossSum) -> Option<f64> {
    (!sum.class_nats.is_empty()).then(|| sum.class_mean())
}

/// How many of a batch's images were classified rightly, if any were classified.
fn right_ones(sum: &LossSum, batch: &Batch) -> Option<usize> {
    let labels = batch.labels().filter(|labels| labels.len() == sum.predicted.len())?;
    Some(labels.iter().zip(&sum.predicted).filter(|(label, predicted)| label == predicted).count())
}

/// Bits per dim of a loss in nats per token.
pub(crate) fn bits_per_dim(loss: f64, channels: usize) -> f64 {
    loss / (channels as f64 * std::f64::consts::LN_2)
}
