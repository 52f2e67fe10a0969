//! A pretraining run: images to tokens, an engine, the training loop, and a model directory at the end.

mod pictures;
mod summary;

use std::path::Path;

pub use self::summary::PretrainSummary;

use self::pictures::{completion_grid, sample_grid};
use self::summary::{card, summary};
use super::prepare::{Prepared, Purpose, decided, prepare};
use super::setup::{batches, probe, warn};
use crate::data::{Dataset, Images, Split};
use crate::device::{Engine, FinetuneObjective, TrainEngine};
use crate::image::ImageSize;
use crate::model::{ModelConfig, ModelDir, Objective};
use crate::palette::Palette;
use crate::train::checkpoint::{Checkpoint, Checkpoints};
use crate::train::config::{Keep, RunConfig, TrainSettings};
use crate::train::distributed::agreement::all_damaged;
use crate::train::run::baselines::RunBaselines;
use crate::train::run::dir::{RunDir, Start};
use crate::train::run::open::open_model_dir;
use crate::train::trainer::context::Context;
use crate::train::trainer::observer::{Event, Observer};
use crate::train::trainer::steps::{TrainOutcome, Trainer};
use crate::train::warm_start::carried;
use crate::{Error, Result};

/// Pretrains by `config` into the run directory `out`; [`Start::Resume`] continues a run to the same bits.
///
/// With several ranks, each of them calls this function (data parallelism). They divide the gradient groups of every
/// batch among them, and the weights are those of one process with as many groups. Rank 0 writes the run in `out`, and
/// each rank its optimizer shard of a checkpoint. All ranks must therefore see that directory.
///
/// # Errors
/// Bad settings (all at once), data that can't be had, a run directory that is taken or can't be written to, a config
/// that doesn't fit the checkpoint to resume, and whatever [`Trainer::run`] refuses. With several ranks also: ranks
/// that differ in program, settings or data, gradient groups that can't be divided, and a rank that is gone. An error
/// of one rank only leaves the others waiting: end them with [`Collective::abort`](crate::ranks::Collective::abort).
pub fn pretrain(config: &RunConfig, out: &Path, start: Start, context: &mut Context<'_>) -> Result<PretrainSummary> {
    pretrain_on(None, config, out, start, context)
}

/// Pretrains like [`pretrain()`] on `dataset`, or on the config's data set if there is none.
///
/// # Errors
/// As [`pretrain()`].
pub(crate) fn pretrain_on(
    dataset: Option<Dataset>,
    config: &RunConfig,
    out: &Path,
    start: Start,
    context: &mut Context<'_>,
) -> Result<PretrainSummary> {
    let mut purpose = Pretraining { dataset, ..Pretraining::of(config, out, start)? };
    let prepared = prepare(&mut purpose, config, out, start, context)?;
    let Pretraining { source, .. } = purpose;
    let Prepared { config, run, dataset, images, quantizer, network, validation, mut loader, mut engine, start } =
        prepared;
    let (leads, train, palette) = (context.ranks.is_leader(), &config.train, quantizer.palette());
    let probe = leads.then(|| probe(&dataset, &config, &network, &quantizer, &run, context.observer)).flatten();
    let mut draw = |engine: &dyn Engine, step: u64, images: usize, path: &Path| {
        sample_grid(engine, &quantizer, images, train.seed, step, path)?;
        let Some(set) = &validation else { return Ok(()) };
        completion_grid(engine, &quantizer, set, images, train.seed, step, &run.completions(step))
    };
    // A masked model has no order in which pixels could be sampled.
    let mut draws = leads && train.drawn_images() > 0 && train.objective == Objective::Autoregressive;
    if draws && !engine.has_decoders() {
        let text = "no samples on the way: weights are packed block by block, for lack of memory";
        warn(&run, context.observer, text);
        draws = false;
    }
    let outcome = Trainer {
        config: &config,
        run: &run,
        engine: engine.as_mut(),
        next: &mut batches(&mut loader, &network, train),
        validation: validation.as_ref(),
        probe: probe.as_ref(),
        sample: draws.then_some(&mut draw),
        images: images.len(),
        channels: palette.channels(),
        start,
        context: context.reborrow(),
    }
    .run()?;
    engine.swap_ema()?;

    let damaged = all_damaged(context.ranks, &loader.damaged())?;
    let mut summary = summary(&run, &config, &network, palette, &outcome, damaged.len());
    if !leads {
        return Ok(summary);
    }
    if config.train.keep == Keep::Best
        && !outcome.stopped
        && let Some((loss, step)) = take_best(&run, engine.as_mut(), &outcome, context.observer)?
    {
        summary.kept(step, loss, palette.channels());
    }
    if let Some(set) = validation.as_ref().filter(|_| config.train.objective == Objective::Autoregressive)
        && !outcome.stopped
    {
        context.observer.event(Event::Finishing("counting for the baselines"));
        match RunBaselines::of(&images, &set.first(outcome.validated), &quantizer) {
            Ok(found) => {
                if found.counted < found.images {
                    let text = format!("the baselines are counted on {} of {} images", found.counted, found.images);
                    context.observer.event(Event::Note(&text));
                }
                summary.judge(found, (&network, &config.data), outcome.validation_loss, &run);
            }
            Err(error) => warn(&run, context.observer, &format!("no baselines: {error}")),
        }
    }
    context.observer.event(Event::Finishing("saving the model"));
    for (name, problem) in &damaged {
        warn(&run, context.observer, &format!("{name} was skipped: {problem}"));
    }
    let weights = engine.into_weights()?;
    let extra = source.map(|source| source.extra).unwrap_or_default();
    let model = ModelDir { config: network, palette: palette.clone(), weights, extra };
    model.save(run.model(), &card(&config, &summary), config.train.save)?;
    run.log(&format!("step {}: saved {}", summary.steps, summary.model_dir.display()));
    if !summary.stopped {
        run.finish(&summary)?;
    }
    Ok(summary)
}

/// The model that a run starts from.
fn open_start(model: &Path, start: Start) -> Result<ModelDir> {
    if start == Start::Resume && !model.exists() {
        return Err(Error::NotFound(format!(
            "the run began with the weights of {}, which is not there any more: put it back, since its network is needed to go on",
            model.display()
        )));
    }
    open_model_dir(model)
}

/// Resolved config of a new run of pretraining.
pub(super) fn pretraining(config: &RunConfig, out: &Path, context: &mut Context<'_>) -> Result<RunConfig> {
    decided(&mut Pretraining::of(config, out, Start::New)?, config, out, context)
}

/// Pretraining of a network on all training images.
struct Pretraining {
    /// The model to start from; `None` starts from fresh weights.
    source: Option<ModelDir>,
    /// The data set, if it is already open.
    dataset: Option<Dataset>,
}

impl Pretraining {
    /// Prepares the pretraining of `config` in `out`.
    fn of(config: &RunConfig, out: &Path, start: Start) -> Result<Self> {
        config.validate()?;
        if config.finetune.is_some() {
            return Err(Error::Invalid(
                "the config has [finetune]: train with igpt finetune, or leave that section out".into(),
            ));
        }
        let source = config.starts_from().map(|model| open_start(model, start)).transpose()?;
        if let Some(source) = &source {
            source.expect_generative(&config.starts_from().unwrap_or(out).display().to_string())?;
        }
        Ok(Self { source, dataset: None })
    }
}

impl Purpose for Pretraining {
    fn dataset(&mut self) -> Option<Dataset> {
        self.dataset.take()
    }

    fn choose(&mut self, dataset: &mut Dataset, _: &RunConfig) -> Result<Images> {
        dataset.split(Split::Train)
    }

    fn augments(&self) -> bool {
        true
    }

    fn source(&self) -> Option<&ModelDir> {
        self.source.as_ref()
    }

    fn network(&self, config: &RunConfig, n_px: ImageSize, n_vocab: usize) -> Result<ModelConfig> {
        let network = match &self.source {
            Some(source) => ModelConfig {
                n_vocab,
                class_head: None,
                mask_prob: config.train.mask_prob.unwrap_or(source.config.mask_prob),
                ..source.config.clone()
            },
            None => config.network(n_px, n_vocab),
        };
        network.validate().map(|()| network)
    }

    fn fine_tuning(&self) -> FinetuneObjective {
        FinetuneObjective::default()
    }

    fn first_weights(&self, network: &ModelConfig, palette: &Palette, train: &TrainSettings) -> Result<Vec<f32>> {
        let fresh = train.initial_weights(network);
        match &self.source {
            Some(source) => carried(network, palette, source, fresh),
            None => Ok(fresh),
        }
    }
}

/// Loads the weights of the best validation (lowest loss, highest accuracy) into the engine.
///
/// It does so if they were saved and are not already there, and returns that loss or error rate, and the step.
pub(super) fn take_best(
    run: &RunDir,
    engine: &mut dyn TrainEngine,
    outcome: &TrainOutcome,
    observer: &mut dyn Observer,
) -> Result<Option<(f64, u64)>> {
    let Some((loss, step)) = outcome.best.filter(|(_, step)| *step != outcome.step) else { return Ok(None) };
    let path = Checkpoints::open(run.checkpoints())?.path(step);
    if !path.exists() {
        warn(
            run,
            observer,
            &format!("step {step} had the best validation, but no checkpoint: the last weights are taken"),
        );
        return Ok(None);
    }
    run.log(&format!("step {step} had the best validation, {loss:.4}: the model is its"));
    let checkpoint = Checkpoint::read(&path)?;
    checkpoint.restore(engine)?;
    engine.swap_ema()?;
    Ok(Some((loss, step)))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::data::{self, OpenOptions};
    use crate::device::{self, Precision};
    use crate::model::ParamLayout;
    use crate::palette::Quantizer;
    use crate::ranks::Collective;
    use crate::train::config::TrainSettings;
    use crate::train::config::recipe::Recipe;

    /// Pretrains in one process.
    fn run(
        config: &RunConfig,
        out: &Path,
        start: Start,
        observer: &mut dyn Observer,
        stop: &AtomicBool,
    ) -> Result<PretrainSummary> {
        pretrain(config, out, start, &mut Context { ranks: &mut Collective::solo(), observer, stop })
    }

    /// A network of a few thousand parameters, on emoji.
    fn small(edit: impl FnOnce(&mut TrainSettings)) -> RunConfig {
        let mut config = RunConfig::of(Recipe::Paper);
        (config.model.n_embd, config.model.n_layer, config.model.n_head) = (Some(16), Some(1), Some(1));
        config.model.n_px = Some(ImageSize::square(8));
        config.palette.colors = Some(8);
        let train = &mut config.train;
        (train.batch, train.precision, train.eval_images, train.sample_images) = (8, Precision::F32, Some(24), Some(0));
        edit(train);
        config
    }

    #[test]
    fn the_finished_model_has_the_average_of_the_weights_whether_the_last_or_the_best_are_taken_or_the_run_was_resumed()
    {
        let folder = tempfile::tempdir().unwrap();
        let mut models = Vec::new();
        for (name, keep, sessions) in
            [("last", Keep::Last, vec![8]), ("best", Keep::Best, vec![8]), ("parts", Keep::Last, vec![3, 8])]
        {
            let out = folder.path().join(name);
            // The learning rate rises to a value at which the loss jumps.
            let config = small(|train| {
                (train.steps, train.lr, train.warmup_steps, train.ema) = (Some(8), 3.0, Some(8), 0.5);
                (train.eval_every, train.keep_last, train.keep) = (Some(1), 8, keep);
            });
            let mut step = 0;
            for end in sessions {
                let stop = AtomicBool::new(false);
                let mut observer = |event: Event<'_>| match event {
                    Event::Step(report) if report.step == end => stop.store(true, Ordering::Relaxed),
                    _ => {}
                };
                let start = if step == 0 { Start::New } else { Start::Resume };
                let summary = run(&config, &out, start, &mut observer, &stop).unwrap();
                step = if keep == Keep::Best { summary.best_step.unwrap() } else { end };
            }
            assert!(keep == Keep::Last || step < 8);
            let model = ModelDir::open(&out).unwrap();
            let checkpoint = Checkpoint::read(&out.join(format!("checkpoints/step-{step:08}"))).unwrap();
            assert!(checkpoint.ema(&ParamLayout::new(&model.config)).unwrap().unwrap() == model.weights);
            models.push(model.weights);
        }
        assert!(models[0] == models[2] && models[0] != models[1]);
    }

    #[test]
    fn the_best_weights_are_taken_when_the_run_ends_worse() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("run");
        // The learning rate rises to a value at which the loss jumps.
        let config = small(|train| {
            (train.steps, train.lr, train.warmup_steps) = (Some(8), 3.0, Some(8));
            (train.eval_every, train.keep_last) = (Some(1), 1);
        });
        let stop = AtomicBool::new(false);
        let summary = run(&config, &out, Start::New, &mut |_: Event<'_>| (), &stop).unwrap();
        let (best, kept) = (summary.best_validation_loss.unwrap(), summary.validation_loss.unwrap());
        assert!(summary.kept_step < 8 && best == kept && summary.best_step == Some(summary.kept_step));
        let rows = crate::train::Metrics::read(&out.join("metrics.jsonl")).unwrap();
        assert!(rows.iter().rfind(|row| row.split == "validation").unwrap().loss > best);
        let model = ModelDir::open(&out).unwrap();
        let mut engine =
            device::open(&model.config, &model.weights, &device::EngineOptions::new(Precision::F32)).unwrap();
        let images = data::open("emoji", &OpenOptions::default()).unwrap().validation.take(24);
        let set = data::tokenize(&images, model.config.n_px, &Quantizer::new(model.palette)).unwrap();
        let loss = engine.evaluate(&set.batch(0..24)).unwrap().mean();
        assert!((loss - best).abs() < 1e-6, "{loss} {best}");
    }

    /// A run of 6 steps, stopped after 3.
    fn stopped(out: &Path) -> (RunConfig, PathBuf) {
        let config = small(|train| (train.steps, train.checkpoint_every) = (Some(6), Some(3)));
        let stop = AtomicBool::new(false);
        let mut observer = |event: Event<'_>| match event {
            Event::Step(report) if report.step == 3 => stop.store(true, Ordering::Relaxed),
            _ => {}
        };
        let checkpoint = run(&config, out, Start::New, &mut observer, &stop).unwrap().checkpoint.unwrap();
        (config, checkpoint)
    }

    /// Rewrites the metadata of a checkpoint after an `edit`.
    fn rewrite(checkpoint: &Path, edit: impl FnOnce(&mut toml::Table)) {
        let path = checkpoint.join("checkpoint.toml");
        let mut meta: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
        edit(&mut meta);
        let text = toml::to_string(&meta).unwrap();
        std::fs::write(checkpoint.join("complete"), crate::checksum::sha256(text.as_bytes())).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Resumes a run, and returns its warnings.
    fn resumed(config: &RunConfig, out: &Path) -> Result<String> {
        let mut warnings = String::new();
        let mut observer = |event: Event<'_>| {
            if let Event::Warning(text) = event {
                warnings += text;
            }
        };
        run(config, out, Start::Resume, &mut observer, &AtomicBool::new(false)).map(|_| warnings)
    }

    #[test]
    fn a_checkpoint_that_does_not_know_its_images_is_resumed_with_a_warning() {
        let folder = tempfile::tempdir().unwrap();
        let (config, checkpoint) = stopped(folder.path());
        rewrite(&checkpoint, |meta| {
            assert!(meta.remove("data").is_some());
            meta.insert("format".into(), 2.into());
        });
        assert!(resumed(&config, folder.path()).unwrap().contains("does not say what its images were"));
        // Checkpoints that the resumed run has written know their images.
        let last = Checkpoint::read(&folder.path().join("checkpoints/step-00000006")).unwrap();
        assert!(last.meta.data.is_some());
    }

    #[test]
    fn a_checkpoint_of_other_images_is_refused_unless_they_are_accepted() {
        let folder = tempfile::tempdir().unwrap();
        let (mut config, checkpoint) = stopped(folder.path());
        rewrite(&checkpoint, |meta| {
            let data = meta["data"].as_table_mut().unwrap();
            data.insert("validation".into(), "0".repeat(64).into());
        });
        let said = resumed(&config, folder.path()).unwrap_err().to_string();
        assert!(said.contains("validation images") && said.contains("--accept-other-data"), "{said}");
        config.data.accept_other = true;
        assert!(resumed(&config, folder.path()).unwrap().contains("goes on with other images"));
        config.data.accept_other = false;
        rewrite(&folder.path().join("checkpoints/step-00000006"), |meta| {
            meta.insert("train_images".into(), 7.into());
        });
        assert!(resumed(&config, folder.path()).unwrap_err().to_string().contains("7 of them then"));
    }
}
