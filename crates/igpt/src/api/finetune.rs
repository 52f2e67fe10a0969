//! Builder for fine-tuning.

use std::path::Path;

use super::model::Model;
use super::scratch::Scratch;
use super::training::{Training, shared_settings, stopped};
use crate::Result;
use crate::data::Dataset;
use crate::train::{FinetuneSummary, Head, RunConfig, Start, Table, finetune_on};

/// Builder that fine-tunes a model as a classifier.
///
/// It does what the program does as `igpt finetune`, with the same defaults.
///
/// ```
/// use igpt::data::Dataset;
/// use igpt::image::{ImageSize, Pixels};
/// use igpt::{Finetune, Pretrain};
///
/// # fn main() -> igpt::Result<()> {
/// let image = |i: usize| Pixels::new(ImageSize::square(8), 1, (0..64).map(|k| if k % 8 < 2 + i % 2 * 4 { 20 } else { 220 }).collect());
/// let labels = (0..60).map(|i| i % 2).collect();
/// let dataset = Dataset::from_labelled_images((0..60).map(image).collect(), labels, vec!["narrow".into(), "wide".into()])?;
/// let small = Pretrain::new().n_embd(16).n_layer(1).batch(4).colors(2).steps(2);
/// let model = small.dataset(dataset.clone()).run()?;
/// let mut classifier = Finetune::from_model(&model)?.dataset(dataset.clone()).batch(4).steps(2).run()?;
/// assert_eq!(classifier.classify(&dataset.test)?[0].probabilities.len(), 2);
/// # Ok(())
/// # }
/// ```
pub struct Finetune<'a> {
    training: Training<'a>,
    /// The directory of a model that was in memory.
    source: Option<Scratch>,
}

impl<'a> Finetune<'a> {
    shared_settings!();

    /// Starts from the model in a model directory or a run directory.
    pub fn from_path(model: impl AsRef<Path>) -> Self {
        let mut training = Training::new();
        training.set("finetune", Table::new());
        training.set("finetune.model", model.as_ref().to_string_lossy().into_owned());
        Self { training, source: None }
    }

    /// Starts from a model in memory.
    ///
    /// # Errors
    /// When there is no room for the model among the system's temporary files.
    pub fn from_model(model: &Model) -> Result<Self> {
        Self { training: Training::new(), source: None }.model(model)
    }

    /// Creates a builder from a whole configuration, whose `[finetune]` names the model; later calls override it.
    pub fn from_config(config: RunConfig) -> Self {
        Self { training: Training::of(config), source: None }
    }

    /// Starts from a model in memory, instead of the one that a configuration names.
    ///
    /// # Errors
    /// Same as [`Finetune::from_model`].
    pub fn model(mut self, model: &Model) -> Result<Self> {
        let scratch = Scratch::new()?;
        let path = scratch.path().join("model");
        model.save(&path)?;
        self.source = Some(scratch);
        Ok(self.with("finetune.model", path.to_string_lossy().into_owned()))
    }

    /// Trains on an opened data set with classes.
    ///
    /// Its images may be in memory, or from a [`Source`](crate::data::Source) of your own.
    pub fn dataset(mut self, dataset: Dataset) -> Self {
        self.training.dataset(dataset);
        self
    }

    /// Chooses the head: the fine-tuned network (the default), a linear probe, or the better of both on validation.
    pub fn head(self, head: Head) -> Self {
        self.with("finetune.head", head.name())
    }

    /// Trains on `labels` labelled images per class.
    pub fn labels_per_class(self, labels: usize) -> Self {
        self.with("finetune.labels_per_class", labels as i64)
    }

    /// Trains for `steps` optimizer steps; by default three passes over the images, but at least 1,000 steps.
    pub fn steps(self, steps: u64) -> Self {
        self.with("train.steps", steps as i64)
    }

    /// Trains for `minutes` minutes.
    pub fn minutes(self, minutes: f64) -> Self {
        self.with("train.minutes", minutes)
    }

    /// Trains and returns the classifier; nothing remains on disk.
    ///
    /// # Errors
    /// Same as [`finetune`](crate::train::finetune()), and when training is stopped.
    pub fn run(self) -> Result<Model> {
        let (scratch, options) = (Scratch::new()?, self.training.engine()?);
        let result = self.run_as(Start::New, scratch.path())?;
        if result.stopped { Err(stopped()) } else { Model::open_with(&result.model_dir, &options) }
    }

    /// Trains in a run directory, which keeps checkpoints, metrics and the model; [`Model::open`] reads it.
    ///
    /// # Errors
    /// Same as [`finetune`](crate::train::finetune()).
    pub fn run_in(self, directory: impl AsRef<Path>) -> Result<FinetuneSummary> {
        self.run_as(Start::New, directory)
    }

    /// Resumes a stopped run from its newest checkpoint, bit for bit; settings must be as they were.
    ///
    /// # Errors
    /// Same as [`finetune`](crate::train::finetune()).
    pub fn resume_in(self, directory: impl AsRef<Path>) -> Result<FinetuneSummary> {
        self.run_as(Start::Resume, directory)
    }

    /// Trains in a run directory: a new one, one that is replaced, or a stopped run that is resumed, as `start` says.
    ///
    /// # Errors
    /// As [`finetune`](crate::train::finetune()).
    pub fn run_as(self, start: Start, directory: impl AsRef<Path>) -> Result<FinetuneSummary> {
        let Self { mut training, source } = self;
        let out = directory.as_ref();
        let (config, dataset) = (training.config()?, training.dataset.take());
        let result = training.with_context(|context| finetune_on(dataset, &config, out, start, context));
        drop(source);
        result
    }
}
