//! Forecast of a run before it starts: memory by part, speed from a short measurement, time, size on disk.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::data::{Batch, Loader, Split};
use crate::device::{
    Backend, Device, EngineMemory, FinetuneObjective, Optimizer, TrainOptions, backend, open_training,
};
use crate::machine;
use crate::model::{ModelConfig, Objective, ParamLayout, Preset};
use crate::palette::Quantizer;
use crate::ranks::Collective;
use crate::train::augmentation;
use crate::train::config::token_data::apply_token_dir;
use crate::train::config::{RunConfig, TrainSettings};
use crate::train::plan::measure::{WITH_COMPLETIONS, grid_seconds, seconds_of};
use crate::train::plan::memory;
use crate::train::plan::overhead::{self, SamplePlan, ValidationPlan};
use crate::train::plan::planner::Planner;
use crate::train::plan::sizing;
use crate::train::plan::speed::images_per_second;
use crate::train::run::dir::{RunDir, Start};
use crate::train::setup::{batches, dataset, palette, probe, resolve, validation};
use crate::train::trainer::accumulation::{GradientAccumulation, micro_batch};
use crate::train::trainer::observer::{Event, Observer};
use crate::{Error, Result, generate};

/// Forecast of a run's memory, speed, time and size on disk.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Forecast {
    /// Network to train.
    #[serde(skip)]
    pub network: ModelConfig,
    /// Number of trainable parameters.
    pub parameters: usize,
    /// Device that would train, such as `cpu`.
    pub device: Device,
    /// Number of training images.
    pub images: usize,
    /// Images per step (batch size).
    pub batch: usize,
    /// Optimizer steps of the budget; an estimate for a budget of minutes, and `None` without a budget.
    pub steps: Option<u64>,
    /// Peak memory in bytes, by part.
    pub memory_bytes: MemoryParts,
    /// Memory that is free on this machine, in bytes; `None` if the system does not report it.
    pub memory_left: Option<u64>,
    /// Whether activation checkpointing is used, because it was asked for or because activations don't fit otherwise.
    pub recompute: bool,
    /// Whether weights are packed block by block, because it was asked for or because they don't fit otherwise.
    pub stream_weights: bool,
    /// Reason why the network can't be trained here, with a remedy; `None` if it can.
    pub problem: Option<String>,
    /// Tokens trained on per second, without validations and samples; `None` if the network can't be trained here.
    pub tokens_per_second: Option<f64>,
    /// Seconds of the whole run, including preparation, validations and samples.
    pub seconds: Option<f64>,
    /// Size of a checkpoint in bytes.
    pub checkpoint_bytes: u64,
    /// Largest size of all checkpoints together: those kept, the best, and the one being written.
    pub checkpoints_bytes: u64,
    /// Size of the training images as tokens, in bytes.
    pub token_bytes: u64,
    /// Largest preset that can be trained on these images here.
    pub largest_preset: Option<Preset>,
}

/// Memory of a training process in bytes, by part.
#[derive(Clone, Copy, Debug, Serialize)]
#[non_exhaustive]
pub struct MemoryParts {
    /// Memory of the engine, by part.
    #[serde(flatten)]
    pub engine: EngineMemory,
    /// KV cache of the images that are sampled during training; at the end a copy of the weights takes its place.
    pub cache: u64,
    /// Memory of the program and the data, as measured.
    pub data: u64,
    /// Peak memory of the process: the sum of all parts, or that of the preparation if it is larger.
    pub total: u64,
}

/// Forecasts the pretraining of `config`, without writing anything.
///
/// It opens the data and fits the palette. If the network fits into memory, it trains it for about `measured`.
///
/// # Errors
/// As [`crate::train::pretrain()`] before its first step. A network that does not fit is reported in
/// [`Forecast::problem`] instead.
pub fn forecast(config: &RunConfig, measured: Duration, observer: &mut dyn Observer) -> Result<Forecast> {
    let has_budget = config.train.steps.is_some() || config.train.epochs.is_some() || config.train.minutes.is_some();
    let config = match has_budget {
        true => config.clone(),
        // Without a budget everything but the time can be forecast.
        false => RunConfig { train: TrainSettings { steps: Some(1), ..config.train.clone() }, ..config.clone() },
    };
    config.validate()?;
    if config.finetune.is_some() {
        return Err(Error::Invalid("forecasts are of pretraining, but the config has [finetune]: leave it out".into()));
    }
    let start = Instant::now();
    let nowhere = RunDir::detached("");
    let dataset = dataset(&config, observer)?;
    let images = dataset.split(Split::Train)?;
    let train_asked = config.train.clone();
    let mut config = apply_token_dir(&config, &images)?;
    let backend = backend(train_asked.device)?;
    let left = backend.memory_left();
    let mut fits = true;
    let sized = sizing::size(&mut config, &images, |network| {
        fits = memory::fitting(left, network, &train_asked, FinetuneObjective::default(), (0, 1)).is_ok();
        // A network that does not fit is reported with everything else.
        if fits { images_per_second(network, &train_asked, left, (0, 1)) } else { Ok(0.0) }
    })?;
    if let Some(sized) = sized.as_ref().filter(|_| fits) {
        observer.event(Event::Note(&sized.told));
    }
    let n_px = augmentation::size(&config, &images);
    let palette =
        palette(&config, &nowhere, Start::New, (&images, n_px, sized.and_then(|sized| sized.colors)), observer)?;
    let quantizer = Arc::new(Quantizer::new(palette));
    let network = config.network(n_px, quantizer.palette().n_vocab());
    network.validate()?;
    let config = resolve(&config, &network)?;
    let train = &config.train;
    observer.event(Event::Phase("turning images into tokens"));
    let validation = validation(&dataset, &config, n_px, &quantizer, &nowhere, observer)?;
    let preprocess = augmentation::preprocess(&config.data, quantizer.palette(), n_px);
    memory::expect_batch_fits(backend.memory_left(), network.n_ctx(), train.batch, 1)?;
    let measurable = train.batch.min(Pace::most_images(train));
    let mut loader = Loader::new(images.clone(), preprocess, quantizer.clone(), train.seed, measurable, 0)?;
    let mut next = batches(&mut loader, &network, train);
    let batch = next()?;
    let prepared = start.elapsed().as_secs_f64();

    let (data, before) = (machine::rss_bytes().unwrap_or(0), machine::peak_rss_bytes().unwrap_or(0));
    let left = backend.memory_left();
    let asked = memory::options(train, FinetuneObjective::default(), (0, 1));
    let found = memory::within(left.unwrap_or(u64::MAX), &network, train, asked);
    let options = *found.as_ref().unwrap_or(&asked);
    let pace = match found {
        Ok(_) => {
            observer.event(Event::Phase("measuring"));
            Some(Pace::measure(&network, train, &options, &batch, measured)?)
        }
        Err(_) => None,
    };

    let probed = probe(&dataset, &config, &network, &quantizer, &nowhere, observer).map_or(0.0, |probe| probe.passes());
    let evaluation = ValidationPlan::of_pretraining(train, validation.map_or(0, |set| set.images()), probed);
    let planner = Planner::new(train, images.len(), &[]).with_validation_plan(evaluation);
    let run = pace.as_ref().filter(|_| has_budget).map(|pace| pace.run(planner, train, &evaluation));
    let layout = ParamLayout::new(&network);
    let checkpoint_bytes = checkpoint_bytes(&layout, train);
    let steps = run.map(|(steps, _)| steps);
    let kept_for_good = steps.and_then(|steps| steps.checked_div(train.keep_every)).unwrap_or(0);
    let checkpoints = (train.keep_last as u64 + 2).saturating_add(kept_for_good);
    Ok(Forecast {
        parameters: network.parameters(),
        device: train.device,
        images: images.len(),
        batch: train.batch,
        steps,
        memory_bytes: memory_parts(&*backend, &network, train, &options, (data, before)),
        memory_left: left,
        recompute: options.recompute,
        stream_weights: options.engine.stream_weights,
        problem: found.err().map(|error| error.to_string()),
        tokens_per_second: pace.as_ref().map(|pace| train.batch as f64 * network.n_ctx() as f64 / pace.step),
        seconds: run.map(|(_, seconds)| prepared + seconds),
        checkpoint_bytes,
        checkpoints_bytes: checkpoints.saturating_mul(checkpoint_bytes),
        token_bytes: (images.len() * network.n_ctx() * size_of::<u16>()) as u64,
        largest_preset: memory::largest_preset(left.unwrap_or(u64::MAX), &network, train, options)?,
        network,
    })
}

fn memory_parts(
    backend: &dyn Backend,
    network: &ModelConfig,
    train: &TrainSettings,
    options: &TrainOptions,
    (data, before): (u64, u64),
) -> MemoryParts {
    let engine = backend.train_memory(network, options);
    let drawn = train.drawn_images().min(generate::default_rows(network));
    let drawing = match has_decoders(network, train, options) {
        true => backend.decoder_memory(network, &options.engine, drawn),
        false => 0,
    };
    let cache = drawing.max(engine.weights);
    let total = (data + engine.total() + cache).max(before);
    MemoryParts { engine, cache, data, total }
}

/// Whether a run draws samples during training.
fn has_decoders(network: &ModelConfig, train: &TrainSettings, options: &TrainOptions) -> bool {
    train.drawn_images() > 0 && network.objective == Objective::Autoregressive && !options.engine.stream_weights
}

/// Bytes of a checkpoint's tensors: weights, their average if one is kept, and moments. Muon has one moment of hidden
/// matrices.
fn checkpoint_bytes(layout: &ParamLayout, train: &TrainSettings) -> u64 {
    let first = layout.parameters();
    let hidden = layout.tensors().iter().filter(|tensor| tensor.hidden).map(|tensor| tensor.len()).sum::<usize>();
    let second = if train.optimizer.kind() == Optimizer::Muon { first - hidden } else { first };
    let averages = usize::from(train.ema > 0.0);
    (size_of::<f32>() * ((2 + averages) * first + second)) as u64
}

/// Seconds of the recurring parts of a run.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Seconds of an optimizer step.
    step: f64,
    /// Seconds of the validation of one image.
    validation: f64,
    /// Seconds of a sample grid.
    grid: f64,
}

/// Seconds of a step of `images`, from the seconds of two smaller steps, along a line.
///
/// Noise must not make larger steps faster: each image adds at least a quarter of what it takes on average in the larger
/// of the two, as if the optimizer's update took the rest.
fn extrapolated([(few, least), (many, most)]: [(usize, f64); 2], images: usize) -> f64 {
    let line = (most - least) / (many - few) as f64;
    most + line.max(most / many as f64 / 4.0) * (images - many) as f64
}

impl Pace {
    /// Largest number of images in a measured step; the time of a larger step is extrapolated from two smaller ones.
    fn most_images(train: &TrainSettings) -> usize {
        const MOST: usize = 128;
        MOST.max(2 * train.gradient_groups)
    }

    /// Trains, validates and samples for about `measured` in all, but at least a little of each.
    ///
    /// `batch` is the batch of a step, or its first [`Pace::most_images`] images.
    fn measure(
        network: &ModelConfig,
        train: &TrainSettings,
        options: &TrainOptions,
        batch: &Batch,
        measured: Duration,
    ) -> Result<Self> {
        let weights = train.initial_weights(network);
        let mut engine = open_training(network, &weights, options)?;
        drop(weights);
        let most = micro_batch(train, batch.images() / train.gradient_groups, network.n_ctx())?;
        let cuts = GradientAccumulation { groups: train.gradient_groups, most };
        let schedule = Planner::new(train, 1, &[]).schedule().clone();
        let mut step = |images: usize, share: f64| {
            let batch = batch.slice(0..images);
            seconds_of(measured.mul_f64(share), || {
                cuts.run(engine.as_mut(), &batch, &mut Collective::solo(), &AtomicBool::new(false))?;
                engine.step(&train.update(&schedule, 0, network.n_embd)).map(|_| ())
            })
        };
        let step = match batch.images() {
            all if all == train.batch => step(all, 0.7)?,
            // The optimizer's update takes the same time for any number of images.
            many => {
                let few = many / 2;
                extrapolated([(few, step(few, 0.2)?), (many, step(many, 0.5)?)], train.batch)
            }
        };
        let images = most.min(batch.images());
        let some = batch.slice(0..images);
        let validation = seconds_of(measured.mul_f64(0.15), || engine.evaluate(&some).map(|_| ()))? / images as f64;
        let draws = has_decoders(network, train, options);
        let grid = if draws {
            grid_seconds(engine.as_ref(), train.drawn_images(), measured.mul_f64(0.15))? * WITH_COMPLETIONS
        } else {
            0.0
        };
        Ok(Self { step, validation, grid })
    }

    /// Steps and seconds of a run.
    fn run(&self, mut planner: Planner, train: &TrainSettings, evaluation: &ValidationPlan) -> (u64, f64) {
        let budget = 60.0 * train.minutes.unwrap_or_default();
        let images = train.drawn_images();
        let drawing = |run: f64| match train.sample_every {
            Some(_) => SamplePlan { images, ..SamplePlan::default() },
            None => SamplePlan::within(run, self.grid, images, train.sample_images.is_none()),
        };
        match planner.steps(0) {
            Some(steps) => {
                let validated = planner.validated_images() as f64 * planner.validations(steps) as f64;
                let probed = evaluation.probe * planner.probe_count(steps) as f64;
                let stepping = self.step * steps as f64;
                let drawing = drawing(stepping);
                planner.draw(drawing);
                let drawn = planner.grids(steps) as f64 * drawing.images as f64 / images.max(1) as f64;
                (steps, stepping + self.validation * (validated + probed) + self.grid * drawn)
            }
            // In a budget of minutes, everything beside steps takes its share. Earlier phases are trained before.
            None => {
                let (step, before) = (self.step * (1.0 + overhead::SHARE), train.budget_start().0);
                (before + (budget / step) as u64, before as f64 * step + budget)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::config::RunPhase;

    #[test]
    fn larger_steps_are_extrapolated_along_a_line_and_never_faster_for_noise() {
        assert_eq!(extrapolated([(64, 3.0), (128, 5.0)], 256), 9.0);
        for noisy in [4.9, 5.0, 5.1, 50.0] {
            let [larger, largest] = [1 << 12, 1 << 20].map(|images| extrapolated([(64, noisy), (128, 5.0)], images));
            assert!(5.0 < larger && larger < largest, "{noisy}: {larger}, {largest}");
        }
    }

    #[test]
    fn the_steps_of_earlier_legs_are_steps_of_the_run() {
        let run = |steps: Option<u64>, minutes: Option<f64>| {
            let phases = vec![RunPhase { steps: 1000, seconds: 7.0 }];
            let train =
                TrainSettings { batch: 1, steps, minutes, phases, sample_images: Some(0), ..TrainSettings::paper() };
            let pace = Pace { step: 0.5, validation: 0.0, grid: 0.0 };
            pace.run(Planner::new(&train, 10, &[]), &train, &ValidationPlan::default())
        };
        assert_eq!(run(Some(100), None), (1100, 550.0));
        let (steps, seconds) = run(None, Some(1.0));
        assert_eq!(steps, 1000 + (60.0 / (0.5 * (1.0 + overhead::SHARE))) as u64);
        assert_eq!(seconds, 1000.0 * 0.5 * (1.0 + overhead::SHARE) + 60.0);
    }
}
