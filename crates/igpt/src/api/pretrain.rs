//! Builder for pretraining.

use std::path::Path;

use super::model::Model;
use super::scratch::Scratch;
use super::training::{Training, shared_settings, stopped};
use crate::Result;
use crate::data::Dataset;
use crate::model::{Objective, Preset};
use crate::train::{PretrainSummary, RunConfig, Start, pretrain_on};

/// Builder that pretrains a model.
///
/// It does what the program does as `igpt pretrain`, with the same defaults.
///
/// ```
/// use igpt::data::Dataset;
/// use igpt::image::{ImageSize, Pixels};
/// use igpt::Pretrain;
///
/// # fn main() -> igpt::Result<()> {
/// let stripes = |i: usize| Pixels::new(ImageSize::square(8), 1, (0..64).map(|k| ((k + i) % 4 * 60) as u8).collect());
/// let dataset = Dataset::from_images((0..40).map(stripes).collect())?;
/// let model = Pretrain::new().dataset(dataset).colors(4).set("model.n_embd=16")?.set("model.n_layer=1")?.steps(3).run()?;
/// assert_eq!(model.config().n_px, ImageSize::square(8));
/// # Ok(())
/// # }
/// ```
pub struct Pretrain<'a> {
    training: Training<'a>,
}

impl Default for Pretrain<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Pretrain<'a> {
    shared_settings!();

    /// Creates a builder with the settings of an empty config file.
    ///
    /// These are the embedded emoji, the modern recipe and a nano network.
    pub fn new() -> Self {
        Self { training: Training::new() }
    }

    /// Creates a builder from a whole configuration; later calls override it.
    pub fn from_config(config: RunConfig) -> Self {
        Self { training: Training::of(config) }
    }

    /// Trains on an opened data set.
    ///
    /// Its images may be in memory, or from a [`Source`](crate::data::Source) of your own.
    pub fn dataset(mut self, dataset: Dataset) -> Self {
        self.training.dataset(dataset);
        self
    }

    /// Starts from the weights of a model directory or a run directory instead of random ones.
    pub fn starting_from(self, model: impl AsRef<Path>) -> Self {
        self.with("model.start", model.as_ref().to_string_lossy().into_owned())
    }

    /// Chooses the objective: the next pixel (the default) or masked pixels.
    pub fn objective(self, objective: Objective) -> Self {
        self.with("train.objective", objective.name())
    }

    /// Chooses a network of a standard size; [`Preset::Nano`] by default.
    pub fn preset(self, preset: Preset) -> Self {
        self.with("model.preset", preset.name())
    }

    /// Sets the width of the residual stream.
    pub fn n_embd(self, width: usize) -> Self {
        self.with("model.n_embd", width as i64)
    }

    /// Sets the number of transformer blocks.
    pub fn n_layer(self, blocks: usize) -> Self {
        self.with("model.n_layer", blocks as i64)
    }

    /// Sets the number of attention heads, which divides the width; by default the preset's (nano: 4).
    pub fn n_head(self, heads: usize) -> Self {
        self.with("model.n_head", heads as i64)
    }

    /// Sets the side of the model's square images, in pixels: 8 to 64.
    ///
    /// By default it is the images' own size if that is uniform and from 8 to 64, otherwise 32.
    #[doc(alias = "image_size")]
    pub fn n_px(self, side: usize) -> Self {
        self.with("model.n_px", side as i64)
    }

    /// Fits a palette of `colors` colours.
    ///
    /// By default 512, 16 for grey images, or as many as the images have. More than they have is an error.
    #[doc(alias = "codebook")]
    pub fn colors(self, colors: usize) -> Self {
        self.with("palette.colors", colors as i64)
    }

    /// Trains for `steps` optimizer steps.
    pub fn steps(self, steps: u64) -> Self {
        self.with("train.steps", steps as i64)
    }

    /// Trains for `minutes` minutes.
    ///
    /// Image size, colours and network follow from the time unless they are set.
    pub fn minutes(self, minutes: f64) -> Self {
        self.with("train.minutes", minutes)
    }

    /// Trains and returns the model; nothing remains on disk.
    ///
    /// # Errors
    /// Same as [`pretrain`](crate::train::pretrain()), and when training is stopped.
    pub fn run(self) -> Result<Model> {
        let (scratch, options) = (Scratch::new()?, self.training.engine()?);
        let summary = self.set("train.sample_images=0")?.run_as(Start::New, scratch.path())?;
        if summary.stopped { Err(stopped()) } else { Model::open_with(&summary.model_dir, &options) }
    }

    /// Trains in a run directory, which keeps checkpoints, metrics, samples and the model; [`Model::open`] reads it.
    ///
    /// # Errors
    /// Same as [`pretrain`](crate::train::pretrain()).
    pub fn run_in(self, directory: impl AsRef<Path>) -> Result<PretrainSummary> {
        self.run_as(Start::New, directory)
    }

    /// Resumes a stopped run from its newest checkpoint, bit for bit; settings must be as they were.
    ///
    /// # Errors
    /// Same as [`pretrain`](crate::train::pretrain()).
    pub fn resume_in(self, directory: impl AsRef<Path>) -> Result<PretrainSummary> {
        self.run_as(Start::Resume, directory)
    }

    /// Trains in a run directory: a new one, one that is replaced, or a stopped run that is resumed, as `start` says.
    ///
    /// # Errors
    /// As [`pretrain`](crate::train::pretrain()).
    pub fn run_as(mut self, start: Start, directory: impl AsRef<Path>) -> Result<PretrainSummary> {
        let out = directory.as_ref();
        let (config, dataset) = (self.training.config()?, self.training.dataset.take());
        self.training.with_context(|context| pretrain_on(dataset, &config, out, start, context))
    }
}
