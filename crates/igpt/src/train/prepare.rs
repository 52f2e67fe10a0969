//! Preparation of a run, common to pretraining and fine-tuning: from settings to an engine, batches and a checkpoint.

use std::path::Path;
use std::sync::Arc;

use super::setup::{
    begin, dataset, engine, expect_sources_kept, log_options, newest, options, palette, resolve, validation,
};
use crate::data::{Dataset, Fingerprint, Images, Loader, Split, TokenSet};
use crate::device::{FinetuneObjective, TrainEngine, backend};
use crate::image::{ImageSize, Resampling};
use crate::model::{ModelConfig, ModelDir};
use crate::palette::{Palette, Quantizer};
use crate::probe::labelled::pick;
use crate::ranks::expect_same::{expect_same_data, expect_same_weights};
use crate::ranks::leader_first;
use crate::train::augmentation;
use crate::train::checkpoint::CheckpointMeta;
use crate::train::config::recipe::fine_tuning_steps;
use crate::train::config::token_data::{apply_token_dir, apply_token_dir_augment};
use crate::train::config::unused::Decider;
use crate::train::config::{RunConfig, RunPhase, TrainSettings};
use crate::train::distributed::agreement::{expect_same_run, part, share_checkpoint, share_palette, with_groups};
use crate::train::plan::sizing::{self, Sized};
use crate::train::plan::speed::images_per_second;
use crate::train::run::dir::{RunDir, Start};
use crate::train::trainer::context::Context;
use crate::train::trainer::observer::Event;
use crate::{Error, Result};

/// Purpose of a run, pretraining or fine-tuning, for the parts of its preparation that depend on it.
pub(super) trait Purpose {
    /// Takes the data set, if it is already open instead of being opened by the config; called once.
    fn dataset(&mut self) -> Option<Dataset>;

    /// The images to train on; cuts `dataset` to what this purpose can use.
    fn choose(&mut self, dataset: &mut Dataset, config: &RunConfig) -> Result<Images>;

    /// Whether training images are augmented by default.
    fn augments(&self) -> bool;

    /// The model that training starts from; `None` starts from fresh weights.
    fn source(&self) -> Option<&ModelDir>;

    /// The network to train, on images of `n_px` and a palette of `n_vocab` colours.
    fn network(&self, config: &RunConfig, n_px: ImageSize, n_vocab: usize) -> Result<ModelConfig>;

    /// The engine's objective of fine-tuning.
    fn fine_tuning(&self) -> FinetuneObjective;

    /// Initial weights, in the order of [`ParamLayout`](crate::model::ParamLayout).
    fn first_weights(&self, network: &ModelConfig, palette: &Palette, train: &TrainSettings) -> Result<Vec<f32>>;
}

/// A run that is ready to train.
pub(super) struct Prepared {
    /// Resolved config.
    pub(super) config: RunConfig,
    /// Run directory, from which an earlier run to overwrite is already removed.
    pub(super) run: RunDir,
    pub(super) dataset: Dataset,
    /// Images to train on.
    pub(super) images: Images,
    pub(super) quantizer: Arc<Quantizer>,
    pub(super) network: ModelConfig,
    pub(super) validation: Option<TokenSet>,
    /// Loader of this rank's part of each batch, from the run's first step on.
    pub(super) loader: Loader,
    pub(super) engine: Box<dyn TrainEngine>,
    /// Checkpoint to resume from, or step 0.
    pub(super) start: CheckpointMeta,
}

/// Extends a run that is over by the budget of `config`: a new phase, whose learning rate warms up and decays anew.
///
/// # Errors
/// When the run is not over yet.
fn extend(config: &mut RunConfig, ended: &CheckpointMeta, run: &RunDir) -> Result<()> {
    if !run.is_detached() && !run.summary().is_file() {
        return Err(Error::Mismatch(format!(
            "{} has not come to its end yet (step {}): go on with --resume alone, and extend it when it is over",
            run.root().display(),
            ended.step
        )));
    }
    config.train.phases.clone_from(&ended.config.train.phases);
    config.train.phases.push(RunPhase { steps: ended.step, seconds: ended.elapsed_s });
    config.train.plan.clear();
    Ok(())
}

/// Decides the size, colours and network that a run of minutes leaves open, and reports them.
fn sized(config: &mut RunConfig, images: &Images, context: &mut Context<'_>) -> Result<Option<Sized>> {
    let train = config.train.clone();
    let sized = sizing::size(config, images, |network| speed(network, &train, context))?;
    if let Some(sized) = &sized {
        context.observer.event(Event::Note(&sized.told));
    }
    Ok(sized)
}

/// Decides the augmentation of a run, and reports it if the config leaves it open.
fn augment(
    purpose: &dyn Purpose,
    config: &mut RunConfig,
    dataset: &Dataset,
    images: &Images,
    (network, palette): (&ModelConfig, &Palette),
    context: &mut Context<'_>,
) -> Result<()> {
    let is_open = config.data.augment.is_none();
    let seen = if is_open && purpose.augments() { images_seen(config, images.len(), network, context)? } else { 0.0 };
    let shape = (network.n_px, purpose.augments() && palette.resampling() == Resampling::Crop);
    let told = augmentation::choose(&mut config.data, images, dataset.mirrors, shape, seen / images.len() as f64)?;
    if is_open && purpose.augments() {
        context.observer.event(Event::Note(&told));
    }
    Ok(())
}

/// Images that the whole run trains on; for a budget of minutes from the network's speed.
fn images_seen(config: &RunConfig, images: usize, network: &ModelConfig, context: &mut Context<'_>) -> Result<f64> {
    let train = &config.train;
    if let Some(steps) = train.fixed_steps(images).or_else(|| train.plan.last().map(|plan| plan.steps)) {
        return Ok(steps as f64 * train.batch as f64);
    }
    Ok(60.0 * train.minutes.unwrap_or_default() * speed(network, train, context)?)
}

/// Images per second that all ranks together train on.
///
/// # Errors
/// When the network can't be trained in the memory that is left.
fn speed(network: &ModelConfig, train: &TrainSettings, context: &mut Context<'_>) -> Result<f64> {
    context.phase("measuring the speed");
    let ranks = &mut *context.ranks;
    let left = backend(train.device)?.memory_left().map(|left| left / ranks.on_this_host() as u64);
    // No rank allocates before all have seen how much memory is free.
    ranks.barrier()?;
    let own = images_per_second(network, train, left, (ranks.rank(), ranks.size()))?;
    ranks.barrier()?;
    Ok(ranks.first(own)? * ranks.size() as f64)
}

/// Decisions about a run, from its config, its data and the speed of this machine.
struct Decided {
    /// Resolved config.
    config: RunConfig,
    dataset: Dataset,
    fingerprint: Fingerprint,
    /// Images to train on.
    images: Images,
    quantizer: Arc<Quantizer>,
    network: ModelConfig,
}

/// Decides everything that `config` leaves open of the run in `run`.
fn decide(
    purpose: &mut dyn Purpose,
    mut config: RunConfig,
    run: &RunDir,
    start: Start,
    context: &mut Context<'_>,
) -> Result<Decided> {
    let mut dataset = match purpose.dataset() {
        Some(dataset) => dataset,
        None => leader_first(context.ranks, || dataset(&config, context.observer))?,
    };
    let fingerprint = Fingerprint::of(&dataset);
    if let Some(count) = config.data.train_images {
        dataset.train = pick(&dataset.train, count, config.train.seed);
    }
    // Palettes need no labels, and are fitted to all training images.
    let all = dataset.split(Split::Train)?;
    let images = purpose.choose(&mut dataset, &config)?;
    let mut usual_colors = None;
    let n_px = match purpose.source() {
        None => {
            config = apply_token_dir(&config, &all)?;
            if start != Start::Resume
                && let Some(sized) = sized(&mut config, &all, context)?
            {
                usual_colors = sized.colors;
            }
            augmentation::size(&config, &all)
        }
        Some(source) => {
            apply_token_dir_augment(&mut config, &all)?;
            let asks = config.palette.colors.is_some() || config.palette.file.is_some();
            if config.finetune.is_some() || !asks {
                config.palette.colors = None;
                config.palette.file = config.starts_from().map(Path::to_path_buf);
            }
            config.train.objective = source.config.objective;
            source.config.n_px
        }
    };
    let palette = share_palette(context.ranks, n_px, || {
        palette(&config, run, start, (&all, n_px, usual_colors), context.observer)
    })?;
    let quantizer = Arc::new(Quantizer::new(palette));
    let palette = quantizer.palette();
    expect_same_data(context.ranks, &dataset, &fingerprint, &images, palette)?;
    let network = purpose.network(&config, n_px, palette.n_vocab())?;
    let mut config = resolve(&config, &network)?;
    let decider = match (start, purpose.source()) {
        (Start::Resume, _) => Some(Decider::Run),
        (_, Some(_)) => Some(Decider::Model),
        (_, None) => None,
    };
    if let Some(decider) = decider {
        config.explicit.expect_used(&config, decider, &network, palette)?;
    }
    if config.finetune.is_some() && config.train.fixed_steps(images.len()).or(config.train.minutes.map(|_| 0)).is_none()
    {
        config.train.steps = Some(fine_tuning_steps(images.len(), config.train.batch));
    }
    augment(purpose, &mut config, &dataset, &images, (&network, palette), context)?;
    Ok(Decided { config, dataset, fingerprint, images, quantizer, network })
}

/// Resolved config of a new run in `out`.
///
/// What a budget decides is decided for the whole of it, so that the config can also be trained for a part of it.
pub(super) fn decided(
    purpose: &mut dyn Purpose,
    config: &RunConfig,
    out: &Path,
    context: &mut Context<'_>,
) -> Result<RunConfig> {
    expect_same_run(context.ranks, config)?;
    let config = with_groups(context.ranks, config, Start::New, context.observer)?;
    if config.finetune.is_some() {
        config.explicit.expect_of_fine_tuning(&config)?;
    }
    decide(purpose, config, &RunDir::detached(out), Start::New, context).map(|decided| decided.config)
}

/// Prepares the run of `config` in `out`. It removes nothing of an earlier run before it has checked everything that
/// can be refused.
pub(super) fn prepare(
    purpose: &mut dyn Purpose,
    config: &RunConfig,
    out: &Path,
    start: Start,
    context: &mut Context<'_>,
) -> Result<Prepared> {
    expect_same_run(context.ranks, config)?;
    let mut config = with_groups(context.ranks, config, start, context.observer)?;
    if config.finetune.is_some() {
        config.explicit.expect_of_fine_tuning(&config)?;
    }
    expect_sources_kept(&config, out, start)?;
    let leads = context.ranks.is_leader();
    let run = if leads { RunDir::open(out, start)? } else { RunDir::detached(out) };
    let own = if leads { newest(&run, start, context.observer)? } else { None };
    let checkpoint = share_checkpoint(context.ranks, own)?;

    if let Some(ended) = checkpoint.as_ref().filter(|_| config.explicit.names_budget()) {
        extend(&mut config, &ended.meta, &run)?;
    }

    let decided = decide(purpose, config, &run, start, context)?;
    let Decided { mut config, dataset, fingerprint, images, quantizer, network } = decided;
    let (palette, n_px) = (quantizer.palette(), network.n_px);
    let options = options(&network, &config.train, purpose.fine_tuning(), context.ranks)?;
    let data = (fingerprint, images.len());
    let meta = begin(&run, &mut config, checkpoint.as_ref(), (palette, n_px), data, context.observer)?;
    log_options(&run, &options, &config.train);

    context.phase("turning images into tokens");
    let validation = validation(&dataset, &config, n_px, &quantizer, &run, context.observer)?;
    let train = &config.train;
    let of = (train.batch, part(context.ranks, train.batch));
    let preprocess = augmentation::preprocess(&config.data, palette, n_px);
    let loader = Loader::for_rank(images.clone(), preprocess, quantizer.clone(), train.seed, of, meta.step)?;

    context.phase("preparing the network");
    let weights = purpose.first_weights(&network, palette, train)?;
    expect_same_weights(context.ranks, &weights)?;
    let engine = engine(&run, &network, &options, weights, checkpoint)?;
    Ok(Prepared { config, run, dataset, images, quantizer, network, validation, loader, engine, start: meta })
}
