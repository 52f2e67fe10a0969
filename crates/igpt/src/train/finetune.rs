//! Fine-tuning: a classifier on top of a pretrained network, or of a fresh one, trained together with it.

mod images;
mod linear;
mod summary;
mod validation;

use std::path::Path;

use self::images::{chosen, count_classes, labelled};
use self::linear::{LinearHead, LinearProbeInputs};
pub use self::summary::FinetuneSummary;
use self::summary::card;
use self::validation::{Calibrated, Choice, Judged};
use super::prepare::{Prepared, Purpose, decided, prepare};
use super::pretrain::take_best;
use super::setup::{batches, warn};
use crate::data::{Dataset, Images, Split};
use crate::device::{self, FinetuneObjective};
use crate::image::ImageSize;
use crate::model::{ClassHead, ModelConfig, ModelDir, Objective, ParamLayout};
use crate::palette::Palette;
use crate::probe::Workers;
use crate::train::config::finetune_section::{FinetuneSettings, Head};
use crate::train::config::{RunConfig, TrainSettings};
use crate::train::distributed::agreement::all_damaged;
use crate::train::plan::memory::options;
use crate::train::run::dir::Start;
use crate::train::run::open::open_model_dir;
use crate::train::trainer::context::Context;
use crate::train::trainer::observer::Event;
use crate::train::trainer::steps::{TrainOutcome, Trainer};
use crate::train::warm_start::carried;
use crate::{Error, Result};

/// Fine-tunes a classifier by `config` and its `[finetune]` into the run directory `out`.
///
/// It keeps the weights with the highest validation accuracy, and only then measures accuracy on the test images.
/// `start` and several ranks work as in [`super::pretrain()`].
///
/// # Errors
/// A split without any labelled image, a single class or a class without training images, a layer that the model
/// doesn't have, and the errors of [`super::pretrain()`].
pub fn finetune(config: &RunConfig, out: &Path, start: Start, context: &mut Context<'_>) -> Result<FinetuneSummary> {
    finetune_on(None, config, out, start, context)
}

/// Fine-tunes like [`finetune()`] on `dataset`, or on the config's data set if there is none.
///
/// # Errors
/// As [`finetune()`].
pub(crate) fn finetune_on(
    dataset: Option<Dataset>,
    config: &RunConfig,
    out: &Path,
    start: Start,
    context: &mut Context<'_>,
) -> Result<FinetuneSummary> {
    fit(Classifying { dataset, ..Classifying::of(config, true)? }, config, out, start, context)
}

/// Fine-tunes like [`finetune`] without measuring accuracy on the test images, so that choices between such runs are
/// independent of them.
pub(super) fn finetune_untested(
    config: &RunConfig,
    out: &Path,
    start: Start,
    context: &mut Context<'_>,
) -> Result<FinetuneSummary> {
    fit(Classifying::of(config, false)?, config, out, start, context)
}

/// Resolved config of a new run of fine-tuning. It does not look at the test images.
pub(super) fn fine_tuning(config: &RunConfig, out: &Path, context: &mut Context<'_>) -> Result<RunConfig> {
    decided(&mut Classifying::of(config, false)?, config, out, context)
}

fn fit(
    mut purpose: Classifying<'_>,
    config: &RunConfig,
    out: &Path,
    start: Start,
    context: &mut Context<'_>,
) -> Result<FinetuneSummary> {
    let settings = purpose.settings;
    let prepared = prepare(&mut purpose, config, out, start, context)?;
    let Prepared { config, run, dataset, images, quantizer, network, validation, mut loader, mut engine, start } =
        prepared;
    let Classifying { source, test, unlabelled, .. } = purpose;
    let (leads, train, palette) = (context.ranks.is_leader(), &config.train, quantizer.palette());
    if unlabelled > 0 {
        warn(&run, context.observer, &format!("{unlabelled} images without a label are left out"));
    }
    let linear = match source.as_ref().filter(|_| leads && settings.head != Head::FineTuned) {
        None => None,
        Some(source) => {
            context.observer.event(Event::Finishing("fitting linear heads"));
            let inputs = LinearProbeInputs {
                labelled: &images,
                all: &dataset.train,
                validation: &dataset.validation.spread(train.validated_images(dataset.validation.len())),
                quantizer: &quantizer,
                classes: dataset.classes.len(),
            };
            let computes = options(train, FinetuneObjective::default(), (0, 1)).engine;
            let mut frozen = device::open(&source.config, &source.weights, &computes)?;
            Some(inputs.best(&mut *frozen, &Workers::new(train.threads))?)
        }
    };
    let outcome = match settings.head {
        Head::Linear => TrainOutcome::untrained(),
        _ => Trainer {
            config: &config,
            run: &run,
            engine: engine.as_mut(),
            next: &mut batches(&mut loader, &network, train),
            probe: None,
            validation: validation.as_ref(),
            sample: None,
            images: images.len(),
            channels: palette.channels(),
            start,
            context: context.reborrow(),
        }
        .run()?,
    };
    engine.swap_ema()?;

    let damaged = all_damaged(context.ranks, &loader.damaged())?;
    if leads {
        take_best(&run, engine.as_mut(), &outcome, context.observer)?;
    }
    let tuned = outcome.best.map(|(errors, _)| 1.0 - errors);
    let choice = Choice::of(settings.head, tuned, linear.as_ref().map(|linear| linear.accuracy));
    if linear.is_some() {
        run.log(&choice.to_string());
        context.observer.event(Event::Note(&choice.to_string()));
    }
    let mut judged = Judged { validation: validation.as_ref(), test: None, quantizer: &quantizer };
    judged.test = test.filter(|_| leads && !outcome.stopped);
    let head_of = |linear: &LinearHead| ClassHead { num_labels: dataset.classes.len(), layer: linear.layer };
    let (network, weights, calibrated) = match linear.filter(|_| choice.takes_linear) {
        Some(linear) => {
            let computes = options(train, FinetuneObjective::default(), (0, 1)).engine;
            drop(engine);
            let network = ModelConfig { class_head: Some(head_of(&linear)), ..network };
            let zeros = vec![0.0; ParamLayout::new(&network).parameters()];
            let weights = match &source {
                Some(source) => carried(&network, palette, source, zeros)?,
                None => zeros,
            };
            let weights = linear.on(&network, weights);
            let mut engine = device::open(&network, &weights, &computes)?;
            let calibrated = judged.judge(&mut *engine, context)?;
            (network, weights, calibrated)
        }
        None if leads && outcome.step > 0 => {
            let calibrated = judged.judge(engine.as_mut(), context)?;
            (network, engine.into_weights()?, calibrated)
        }
        None => (network, engine.into_weights()?, Calibrated::default()),
    };
    context.observer.event(Event::Finishing("saving the model"));
    for (name, problem) in &damaged {
        warn(&run, context.observer, &format!("{name} was skipped: {problem}"));
    }
    let tested = calibrated.tested;
    let result = FinetuneSummary {
        test_accuracy: tested.map(|tested| tested.accuracy),
        interval: tested.map(|tested| tested.interval),
        test_images: tested.map(|tested| tested.images),
        head: if choice.takes_linear { Head::Linear } else { Head::FineTuned },
        class_layer: network.class_head.map_or(network.n_layer, |head| head.layer),
        validation_accuracy: if choice.takes_linear { choice.linear } else { choice.tuned },
        fine_tuned_accuracy: choice.tuned,
        linear_accuracy: choice.linear,
        validation_images: validation.as_ref().map_or(0, |set| set.images()),
        best_step: outcome.best.map(|(_, step)| step),
        steps: outcome.step,
        stopped: outcome.stopped,
        validation_loss: outcome.validation_loss,
        validation_class_loss: outcome.class_loss,
        calibration_error: tested.map(|tested| tested.calibration_error),
        uncalibrated_error: calibrated.uncalibrated_error,
        temperature: calibrated.temperature,
        classes: dataset.classes.clone(),
        generative_weight: settings.generative_weight,
        seconds: outcome.elapsed_s,
        parameters: network.parameters(),
        run_dir: run.root().to_path_buf(),
        model_dir: run.model(),
    };
    if !leads {
        return Ok(result);
    }
    let extra = source.map(|source| source.extra).unwrap_or_default();
    let mut model = ModelDir { config: network, palette: palette.clone(), weights, extra };
    model.set_classes(&dataset.classes);
    if let Some(temperature) = calibrated.temperature {
        model.scale_class_temperature(temperature);
    }
    model.save(run.model(), &card(&config, &outcome, &result, tested), config.train.save)?;
    run.log(&format!("step {}: saved {}", result.steps, result.model_dir.display()));
    if !result.stopped {
        run.finish(&result)?;
    }
    Ok(result)
}

/// Training of a classifier on labelled images.
struct Classifying<'a> {
    settings: &'a FinetuneSettings,
    /// The pretrained model; `None` trains from scratch.
    source: Option<ModelDir>,
    /// Whether accuracy on the test images is measured in the end.
    tests: bool,
    /// Labelled test images.
    test: Option<Images>,
    /// Number of images without a label, which are left out.
    unlabelled: usize,
    /// Number of classes of the data set.
    classes: usize,
    /// The data set, if it is already open.
    dataset: Option<Dataset>,
}

impl<'a> Classifying<'a> {
    /// Prepares the fine-tuning of `config`.
    fn of(config: &'a RunConfig, tests: bool) -> Result<Self> {
        config.validate()?;
        let Some(settings) = &config.finetune else {
            return Err(Error::Invalid("the config has no [finetune]: pretrain with it, or add that section".into()));
        };
        let source = settings.model.as_ref().map(open_model_dir).transpose()?;
        if let Some(source) = &source {
            expect_head(settings.head, source.config.objective)?;
        } else if settings.head != Head::FineTuned {
            return Err(Error::Invalid(format!(
                "finetune.head is {}, but there is no pretrained model whose features a linear head could read: name one, \
                 or leave it out",
                settings.head.name()
            )));
        }
        Ok(Self { settings, source, tests, test: None, unlabelled: 0, classes: 0, dataset: None })
    }
}

impl Purpose for Classifying<'_> {
    fn dataset(&mut self) -> Option<Dataset> {
        self.dataset.take()
    }

    fn choose(&mut self, dataset: &mut Dataset, config: &RunConfig) -> Result<Images> {
        let all = dataset.train.len() + dataset.validation.len();
        dataset.train = labelled(dataset, Split::Train)?;
        dataset.validation = labelled(dataset, Split::Validation)?;
        let tests = self.tests && !dataset.test.is_empty();
        self.test = tests.then(|| labelled(dataset, Split::Test)).transpose()?;
        let unlabelled_tests = self.test.as_ref().map_or(0, |test| dataset.test.len() - test.len());
        self.unlabelled = all - dataset.train.len() - dataset.validation.len() + unlabelled_tests;
        self.classes = count_classes(dataset)?.len();
        chosen(&dataset.train, self.settings, self.classes, config.train.seed)
    }

    fn augments(&self) -> bool {
        false
    }

    fn source(&self) -> Option<&ModelDir> {
        self.source.as_ref()
    }

    fn network(&self, config: &RunConfig, n_px: ImageSize, n_vocab: usize) -> Result<ModelConfig> {
        network(config, self.settings, self.source.as_ref(), n_px, n_vocab, self.classes)
    }

    fn fine_tuning(&self) -> FinetuneObjective {
        self.settings.engine()
    }

    fn first_weights(&self, network: &ModelConfig, palette: &Palette, train: &TrainSettings) -> Result<Vec<f32>> {
        match &self.source {
            // The classifier starts from zero; all other weights are the source's.
            Some(source) => carried(network, palette, source, vec![0.0; ParamLayout::new(network).parameters()]),
            None => Ok(train.initial_weights(network)),
        }
    }
}

/// Refuses a linear head on a masked model.
fn expect_head(head: Head, objective: Objective) -> Result<()> {
    match objective {
        Objective::Masked if head != Head::FineTuned => Err(Error::Invalid(format!(
            "finetune.head is {}, but a linear head reads whole images and a model of masked pixels classifies masked ones: \
             leave it out",
            head.name()
        ))),
        _ => Ok(()),
    }
}

/// The network with its classifier: that of `source`, or one of the config's shape.
fn network(
    config: &RunConfig,
    settings: &FinetuneSettings,
    source: Option<&ModelDir>,
    n_px: ImageSize,
    n_vocab: usize,
    num_labels: usize,
) -> Result<ModelConfig> {
    let mut network = source.map_or_else(|| config.network(n_px, n_vocab), |source| source.config.clone());
    network.mask_prob = config.train.mask_prob.unwrap_or(network.mask_prob);
    let layer = settings.class_layer.unwrap_or(network.n_layer);
    network.class_head = Some(ClassHead { num_labels, layer });
    network.validate()?;
    if settings.frozen_blocks > network.n_layer {
        let (frozen, blocks) = (settings.frozen_blocks, network.n_layer);
        return Err(Error::Invalid(format!("{frozen} blocks are to be frozen, but the model has {blocks}")));
    }
    Ok(network)
}
