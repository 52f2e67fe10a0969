//! Fine-tuning: a classifier on top of a pretrained network, or of a fresh one, trained together with it.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::prepare::{Prepared, Purpose, prepare};
use super::pretrain::take_best;
use super::setup::{batches, warn};
use crate::data::{self, Dataset, Images, Split};
use crate::device::FineTuning;
use crate::evaluate::{Accuracy, accuracy};
use crate::image::ImageSize;
use crate::model::{Card, ClassHead, Layout, ModelConfig, ModelDir, Objective};
use crate::palette::Palette;
use crate::probe::few;
use crate::train::config::finetune_section::FineTuneSection;
use crate::train::config::{RunConfig, TrainSection};
use crate::train::distributed::agreement::all_damaged;
use crate::train::run::dir::Start;
use crate::train::run::open::open_model;
use crate::train::trainer::average;
use crate::train::trainer::context::Context;
use crate::train::trainer::observer::Event;
use crate::train::trainer::steps::{Outcome, Trainer};
use crate::train::warm_start::carried;
use crate::{Error, Result};

/// What fine-tuning came to.
#[derive(Clone, Debug, Serialize)]
pub struct FineTuned {
    /// Share of the test images that the best weights classify rightly; none when stopped from outside.
    pub test_accuracy: Option<f64>,
    /// Its 95 % confidence interval (Wilson).
    pub interval: Option<[f64; 2]>,
    /// Test images.
    pub test_images: Option<usize>,
    /// Highest accuracy on the validation images, by which the weights were chosen.
    pub validation_accuracy: Option<f64>,
    /// Validation images.
    pub validation_images: usize,
    /// Steps taken when it was highest.
    pub best_step: Option<u64>,
    /// Optimiser steps taken.
    pub steps: u64,
    /// Whether it was stopped from outside before its end.
    pub stopped: bool,
    /// Generative loss on the validation images at the last validation, nats per token.
    pub validation_loss: Option<f64>,
    /// Loss of the classes there, nats per label.
    pub validation_class_loss: Option<f64>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Weight of the generative loss.
    pub generative_weight: f64,
    /// Seconds of training, of earlier sessions too.
    pub seconds: f64,
    /// Trainable parameters.
    pub parameters: usize,
    /// The run directory.
    pub run: PathBuf,
    /// The model directory in it.
    pub model: PathBuf,
}

/// Trains a classifier as `config` and its `[finetune]` say into the run directory `out`, keeps the weights of the
/// highest validation accuracy, and only then looks at the test images. `start` and several ranks are as in
/// [`super::pretrain()`].
///
/// # Errors
/// A split without any labelled image, a single class or one that the training images lack, a layer that the model doesn't
/// have, and as [`super::pretrain()`].
pub fn finetune(config: &RunConfig, out: &Path, start: Start, context: &mut Context<'_>) -> Result<FineTuned> {
    fit(config, out, start, true, context)
}

/// As [`finetune`], but without a look at the test images: what is chosen by such runs has not seen them.
pub(super) fn finetune_untested(
    config: &RunConfig,
    out: &Path,
    start: Start,
    context: &mut Context<'_>,
) -> Result<FineTuned> {
    fit(config, out, start, false, context)
}

fn fit(config: &RunConfig, out: &Path, start: Start, tests: bool, context: &mut Context<'_>) -> Result<FineTuned> {
    config.validate()?;
    let Some(settings) = &config.finetune else {
        return Err(Error::Invalid("the config has no [finetune]: pretrain with it, or add that section".into()));
    };
    let source = settings.model.as_ref().map(open_model).transpose()?;
    let mut purpose = Classifying { settings, source, tests, test: None, unlabelled: 0, classes: 0 };
    let prepared = prepare(&mut purpose, config, out, start, context)?;
    let Prepared { config, run, dataset, images, quantizer, network, validation, mut loader, mut engine, start } =
        prepared;
    let Classifying { source, test, unlabelled, .. } = purpose;
    let (leads, train, palette) = (context.ranks.leads(), &config.train, quantizer.palette());
    if unlabelled > 0 {
        warn(&run, context.observer, &format!("{unlabelled} images without a label are left out"));
    }
    let outcome = Trainer {
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
        context: context.part(),
    }
    .run()?;
    engine.swap_average()?;

    let damaged = all_damaged(context.ranks, &loader.damaged())?;
    if leads {
        take_best(&run, engine.as_mut(), &outcome, context.observer)?;
    }
    let tested = match test.filter(|_| leads && !outcome.stopped) {
        None => None,
        Some(test) => {
            context.observer.event(Event::Finishing("testing the best weights"));
            let set = data::tokenize(&test, network.n_px, &quantizer)?;
            Some(accuracy(engine.as_mut(), &set, &mut |_| {})?)
        }
    };
    context.observer.event(Event::Finishing("saving the model"));
    for (name, problem) in &damaged {
        warn(&run, context.observer, &format!("{name} was skipped: {problem}"));
    }
    let result = FineTuned {
        test_accuracy: tested.map(|tested| tested.accuracy),
        interval: tested.map(|tested| tested.interval),
        test_images: tested.map(|tested| tested.images),
        validation_accuracy: outcome.best.map(|(errors, _)| 1.0 - errors),
        validation_images: validation.as_ref().map_or(0, |set| set.images()),
        best_step: outcome.best.map(|(_, step)| step),
        steps: outcome.step,
        stopped: outcome.stopped,
        validation_loss: outcome.validation_loss,
        validation_class_loss: outcome.class_loss,
        classes: dataset.classes.clone(),
        generative_weight: settings.generative_weight,
        seconds: outcome.elapsed_s,
        parameters: network.parameters(),
        run: run.root().to_path_buf(),
        model: run.model(),
    };
    if !leads {
        return Ok(result);
    }
    let weights = engine.into_weights()?;
    let extra = source.map(|source| source.extra).unwrap_or_default();
    let mut model = ModelDir { config: network, palette: palette.clone(), weights, extra };
    model.set_classes(&dataset.classes);
    model.save(run.model(), &card(&config, &outcome, &result, tested), config.train.save)?;
    run.log(&format!("step {}: saved {}", result.steps, result.model.display()));
    if !result.stopped {
        run.finish(&result)?;
    }
    Ok(result)
}

/// A classifier is trained on images with labels.
struct Classifying<'a> {
    settings: &'a FineTuneSection,
    /// The pretrained model, if it does not start from scratch.
    source: Option<ModelDir>,
    /// Whether the test images are looked at in the end.
    tests: bool,
    /// These images.
    test: Option<Images>,
    /// Images that are left out.
    unlabelled: usize,
    /// Classes of the data set.
    classes: usize,
}

impl Purpose for Classifying<'_> {
    fn choose(&mut self, dataset: &mut Dataset, config: &RunConfig) -> Result<Images> {
        let all = dataset.train.len() + dataset.validation.len();
        dataset.train = labelled(dataset, Split::Train)?;
        dataset.validation = labelled(dataset, Split::Validation)?;
        self.test = self.tests.then(|| labelled(dataset, Split::Test)).transpose()?;
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

    fn fine_tuning(&self) -> FineTuning {
        self.settings.engine()
    }

    fn first_weights(&self, network: &ModelConfig, palette: &Palette, train: &TrainSection) -> Result<Vec<f32>> {
        match &self.source {
            // The classifier starts at zero.
            Some(source) => carried(network, palette, source, vec![0.0; Layout::new(network).parameters()]),
            None => Ok(train.initial_weights(network)),
        }
    }
}

/// The images of a split that have a class.
///
/// # Errors
/// When none has.
fn labelled(dataset: &Dataset, split: Split) -> Result<Images> {
    let images = dataset.split(split)?;
    let known = |label: Option<u32>| label.is_some_and(|label| (label as usize) < dataset.classes.len());
    let labelled = images.pick((0..images.len()).filter(|&i| known(images.label(i))));
    if labelled.is_empty() {
        return Err(Error::Missing(format!(
            "the {split} images of {} have no labels ({} has none): give a data set with classes, such as a folder with a \
             folder of pictures for each class",
            dataset.name,
            images.name(0)
        )));
    }
    Ok(labelled)
}

/// Training images of each class.
///
/// # Errors
/// When there are fewer than two classes, or a class without training images.
fn count_classes(dataset: &Dataset) -> Result<Vec<usize>> {
    let (name, images) = (&dataset.name, &dataset.train);
    let mut counts = vec![0; dataset.classes.len()];
    (0..images.len()).filter_map(|i| images.label(i)).for_each(|label| counts[label as usize] += 1);
    if counts.len() < 2 {
        let class = dataset.classes.first().map_or("none", |class| class);
        return Err(Error::Invalid(format!("{name} has a single class ({class}): there is nothing to tell apart")));
    }
    let missing: Vec<&str> =
        counts.iter().zip(&dataset.classes).filter(|(count, _)| **count == 0).map(|(_, name)| name.as_str()).collect();
    if !missing.is_empty() {
        return Err(Error::Invalid(format!(
            "{name} has no training images of {}: add some, or leave the class out",
            missing.join(", ")
        )));
    }
    Ok(counts)
}

/// The images to train on: few of each class, or every class equally often, if the settings say so.
fn chosen(images: &Images, settings: &FineTuneSection, classes: usize, seed: u64) -> Result<Images> {
    let images = match settings.labels_per_class {
        Some(count) => {
            let labels: Vec<u32> = (0..images.len()).filter_map(|i| images.label(i)).collect();
            images.pick(few::subset(&labels, classes, count, seed)?)
        }
        None => images.clone(),
    };
    Ok(if settings.balanced { balanced(&images, classes) } else { images })
}

/// The images with those of rarer classes repeated in turn, so that every class has as many as the largest.
fn balanced(images: &Images, classes: usize) -> Images {
    let mut of_class = vec![Vec::new(); classes];
    for i in 0..images.len() {
        if let Some(label) = images.label(i) {
            of_class[label as usize].push(i);
        }
    }
    let most = of_class.iter().map(Vec::len).max().unwrap_or(0);
    let chosen = of_class.iter().flat_map(|class| class.iter().cycle().take(most)).copied();
    images.pick(chosen)
}

/// The network with its classifier: the source's, or one of the config's shape.
fn network(
    config: &RunConfig,
    settings: &FineTuneSection,
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

fn card(config: &RunConfig, outcome: &Outcome, result: &FineTuned, tested: Option<Accuracy>) -> Card {
    let train = &config.train;
    let origin = match config.finetune.as_ref().and_then(|finetune| finetune.model.as_ref()) {
        Some(model) => format!("Fine-tuned from `{}`", Card::data_name(&model.display().to_string())),
        None => "Trained from scratch".into(),
    };
    let mut lines = vec![format!(
        "{origin} with igpt on the train split of `{}`: {} steps of {} images, learning rate {}, generative weight {}, seed \
         {}; the weights are those after step {}.{}",
        Card::data_name(&config.data.spec),
        outcome.step,
        train.batch,
        train.main_rate(),
        result.generative_weight,
        train.seed,
        result.best_step.unwrap_or(outcome.step),
        average::card(train.ema)
    )];
    if let Some(share) = train.mask_prob.filter(|_| train.objective == Objective::Masked) {
        lines.push(format!(
            "It was trained on and reads inputs of which a share of {share} is masked, and votes over five sets of masks.",
        ));
    }
    let mut figures = Vec::new();
    if let Some(Accuracy { accuracy, interval: [low, high], images }) = tested {
        let percent = [accuracy, low, high].map(|share| format!("{:.2} %", 100.0 * share));
        let [accuracy, low, high] = percent;
        figures.push((
            format!("accuracy on the {images} test images"),
            format!("{accuracy}, 95 % interval {low} to {high}"),
        ));
    }
    if let Some(accuracy) = result.validation_accuracy {
        let images = result.validation_images;
        figures.push((format!("accuracy on {images} validation images"), format!("{:.2} %", 100.0 * accuracy)));
    }
    Card { lines, figures }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_labels_are_those_that_a_probe_of_the_same_seed_sees() {
        let emoji = data::open("emoji", &data::OpenOptions::default()).unwrap();
        let images = emoji.split(Split::Train).unwrap();
        // Of the classes with enough images.
        let mut counts = vec![0; emoji.classes.len()];
        (0..images.len()).filter_map(|i| images.label(i)).for_each(|label| counts[label as usize] += 1);
        let images = images.pick((0..images.len()).filter(|&i| counts[images.label(i).unwrap() as usize] >= 20));
        let settings = FineTuneSection { labels_per_class: Some(20), ..FineTuneSection::default() };
        let few = chosen(&images, &settings, counts.len(), 3).unwrap();
        let labels: Vec<u32> = (0..images.len()).filter_map(|i| images.label(i)).collect();
        let taken = few::subset(&labels, counts.len(), 20, 3).unwrap();
        assert_eq!(few.indices(), images.pick(taken).indices());
        assert_eq!(few.len(), 20 * counts.iter().filter(|count| **count >= 20).count());
        assert_ne!(few.indices(), chosen(&images, &settings, counts.len(), 4).unwrap().indices());

        let settings = FineTuneSection { labels_per_class: Some(100_000), ..settings };
        assert!(chosen(&images, &settings, counts.len(), 3).unwrap_err().to_string().contains("too few"));
        let all = chosen(&images, &FineTuneSection::default(), counts.len(), 3).unwrap();
        assert_eq!(all.indices(), images.indices());
    }
}
