//! A trained model, ready for use.

use std::path::Path;

use super::prompt::Prompt;
use crate::data::{Batch, DamagedImage, Dataset, Images, Preprocess, Split, TokenSet, tokenize_unchecked};
use crate::device::{self, Engine, EngineOptions, Pooling, Precision};
use crate::evaluate::{Classification, Layers, classify, features, surprise_maps};
use crate::generate::{FillSettings, SamplingSettings, expect_room, fill, sample};
use crate::image::{Pixels, Resampling};
use crate::inspect::{self, GoodSplit, InputMode, InspectionFit, Inspector, Score, ScoreChoice};
use crate::model::{ModelCard, ModelConfig, ModelDir, Objective, SaveType};
use crate::palette::{Palette, Quantizer};
use crate::ranks::Collective;
use crate::train::{FinetuneSummary, PretrainSummary, open_model_dir};
use crate::{Error, Result};

/// Images per call of the engine.
const BATCH: usize = 64;

/// A trained model with its palette on a device: the entry point for inference.
///
/// It samples and completes images. It computes their likelihood, their features and their classes, and detects
/// anomalies.
///
/// ```
/// use igpt::{Model, Prompt};
/// use igpt::data::Dataset;
/// use igpt::evaluate::Layers;
/// use igpt::generate::SamplingSettings;
///
/// # fn main() -> igpt::Result<()> {
/// let mut model = Model::bundled()?; // of emoji; Model::open("runs/mine") opens your own
/// let images = Dataset::open("emoji")?.test.take(2);
/// let nats = model.log_likelihood(&images)?;
/// let features = model.features(&images, &Layers::All)?;
/// let completed = model.complete(&images, Prompt::Rows(15), 1, &SamplingSettings::default())?;
/// assert!(nats.iter().all(|nats| *nats < 0.0) && completed.len() == 2);
/// assert_eq!(features.of(0, 1).len(), model.config().n_embd);
/// # Ok(())
/// # }
/// ```
pub struct Model {
    model: ModelDir,
    quantizer: Quantizer,
    options: EngineOptions,
    engine: Box<dyn Engine>,
    inspector: Option<Inspector>,
}

/// Mean features of images, (images, layers, n_embd).
///
/// [`Layers`] says what a layer is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Features {
    /// Layer numbers, in the order of `values`.
    pub layers: Vec<usize>,
    /// Width of one layer's features.
    pub n_embd: usize,
    /// All features, (images, layers, n_embd).
    pub values: Vec<f32>,
}

impl Features {
    /// Returns the features of one image in the layer of this number, (n_embd).
    ///
    /// Panics if there is no such image, or the layer was not asked for.
    pub fn of(&self, image: usize, layer: usize) -> &[f32] {
        let position = self.layers.iter().position(|number| *number == layer).expect("one of the layers");
        &self.values[(image * self.layers.len() + position) * self.n_embd..][..self.n_embd]
    }
}

impl Model {
    /// Opens a model directory or a run directory on the fastest device, in full precision.
    ///
    /// A model directory of transformers opens, too.
    ///
    /// # Errors
    /// Same as [`open_model_dir`].
    #[doc(alias = "from_pretrained")]
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, &EngineOptions::new(Precision::F32))
    }

    /// Opens a model or run directory with a device, precision and thread count of your choice.
    ///
    /// # Errors
    /// Same as [`open_model_dir`] and [`device::open`].
    pub fn open_with(path: impl AsRef<Path>, options: &EngineOptions) -> Result<Self> {
        let path = path.as_ref();
        let model = open_model_dir(path)?;
        let fit = InspectionFit::find(path, &model)?;
        Self::of(model, fit, options)
    }

    /// Opens the small model of emoji that comes with igpt.
    ///
    /// # Errors
    /// When its engine can't be opened.
    pub fn bundled() -> Result<Self> {
        Self::from_model_dir(ModelDir::bundled()?, &EngineOptions::new(Precision::F32))
    }

    /// Opens a model directory that is in memory.
    ///
    /// # Errors
    /// When its engine can't be opened.
    pub fn from_model_dir(model: ModelDir, options: &EngineOptions) -> Result<Self> {
        Self::of(model, None, options)
    }

    fn of(model: ModelDir, fit: Option<InspectionFit>, options: &EngineOptions) -> Result<Self> {
        let engine = device::open(&model.config, &model.weights, options)?;
        let inspector = fit.map(|fit| Inspector::new(fit, &model, options.threads));
        Ok(Self { quantizer: Quantizer::new(model.palette.clone()), model, options: *options, engine, inspector })
    }

    /// Returns the configuration of the network.
    pub fn config(&self) -> &ModelConfig {
        &self.model.config
    }

    /// Returns the palette of the model.
    pub fn palette(&self) -> &Palette {
        &self.model.palette
    }

    /// Model directory in memory, quantizer and engine of the model.
    ///
    /// They are for functions of [`evaluate`](crate::evaluate), [`generate`](crate::generate) and [`inspect`](crate::inspect) that
    /// stream over a data set, report progress, or divide the work among ranks.
    pub fn parts(&mut self) -> (&ModelDir, &Quantizer, &mut dyn Engine) {
        (&self.model, &self.quantizer, &mut *self.engine)
    }

    /// Names of the classes that a classifier distinguishes; empty for other models.
    pub fn classes(&self) -> Vec<String> {
        self.model.classes()
    }

    /// Turns images into tokens of the model's palette, at the model's image size.
    ///
    /// # Errors
    /// When an image can't be decoded.
    pub fn tokens(&self, images: &Images) -> Result<TokenSet> {
        let set = tokenize_unchecked(images, self.model.config.n_px, &self.quantizer)?;
        expect_whole(&set.damaged).map(|()| set)
    }

    /// Tokens of one decoded image of any size, (T) at the model's size.
    ///
    /// # Errors
    /// When it would have to be scaled where the palette forbids it.
    pub fn tokens_of(&self, image: &Pixels) -> Result<Vec<u16>> {
        let scaled = Preprocess::of(self.palette(), self.config().n_px).evaluation(image)?;
        let mut tokens = vec![0; self.config().n_ctx()];
        self.quantizer.tokens(&scaled, &mut tokens);
        Ok(tokens)
    }

    /// Returns the image that a token sequence stands for, in the palette's colours.
    pub fn pixels(&self, tokens: &[u16]) -> Pixels {
        self.quantizer.pixels(tokens, self.model.config.n_px)
    }

    /// Samples `n` images; image `i` of a seed is always the same.
    ///
    /// # Errors
    /// When the model is masked or classifies only, settings are bad, or the engine fails.
    #[doc(alias = "generate")]
    pub fn sample(&mut self, n: usize, settings: &SamplingSettings) -> Result<Vec<Pixels>> {
        self.expect_autoregressive("samples nothing")?;
        let drawn = self.sample_tokens(n, settings, &mut |_, _| ())?;
        Ok(drawn.iter().map(|tokens| self.pixels(tokens)).collect())
    }

    /// Samples `n` images as tokens, (n, T). `progress` is called with the pixels drawn so far and their number in all.
    ///
    /// # Errors
    /// As [`Model::sample`].
    pub fn sample_tokens(
        &mut self,
        n: usize,
        settings: &SamplingSettings,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Vec<Vec<u16>>> {
        self.model.expect_generative("the model")?;
        expect_room(&self.model.config, n, 1)?;
        sample(&*self.engine, n, 0, settings, 0, progress)
    }

    /// Completes each image `attempts` times from the pixels that the prompt keeps.
    ///
    /// Returns the completions of each image. Kept pixels have palette colours. For known pixels after a hole, an
    /// autoregressive model uses a particle filter. A masked model fills holes in rounds.
    ///
    /// # Errors
    /// When an image can't be decoded, no pixel remains to be drawn, settings are bad, or the engine fails.
    #[doc(alias = "inpaint")]
    pub fn complete(
        &mut self,
        images: &Images,
        prompt: Prompt<'_>,
        attempts: usize,
        settings: &SamplingSettings,
    ) -> Result<Vec<Vec<Pixels>>> {
        self.model.expect_generative("the model")?;
        let given = prompt.pixels(self.model.config.n_px)?;
        expect_room(&self.model.config, images.len(), attempts)?;
        let set = self.tokens(images)?;
        let known = |i: usize| -> Vec<Option<u16>> {
            set.image(i).iter().zip(&given).map(|(token, given)| given.then_some(*token)).collect()
        };
        let known = (0..set.images()).map(known).collect();
        let drawn =
            self.complete_tokens(known, FillSettings::default().attempts(attempts), settings, &mut |_, _| ())?;
        let pixels: Vec<Pixels> = drawn.iter().map(|tokens| self.pixels(tokens)).collect();
        Ok(pixels.chunks(attempts.max(1)).map(<[Pixels]>::to_vec).collect())
    }

    /// Completes token images of which `known` (T) has the known pixels: (images, attempts, T). `progress` is called with what
    /// is done so far and how much there is in all.
    ///
    /// # Errors
    /// As [`Model::complete`].
    pub fn complete_tokens(
        &mut self,
        known: Vec<Vec<Option<u16>>>,
        filling: FillSettings,
        settings: &SamplingSettings,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Vec<Vec<u16>>> {
        self.model.expect_generative("the model")?;
        expect_room(&self.model.config, known.len(), filling.attempts)?;
        fill(&mut *self.engine, known, filling, settings, progress)
    }

    /// Log-likelihood of each image, in nats.
    ///
    /// # Errors
    /// When the model is masked or classifies only, an image can't be decoded, or the engine fails.
    #[doc(alias = "nll")]
    #[doc(alias = "log_prob")]
    #[doc(alias = "perplexity")]
    pub fn log_likelihood(&mut self, images: &Images) -> Result<Vec<f64>> {
        self.expect_autoregressive("gives images no likelihood")?;
        let set = self.tokens(images)?;
        let mut found = Vec::with_capacity(set.images());
        for start in (0..set.images()).step_by(BATCH) {
            let batch = set.batch(start..(start + BATCH).min(set.images())).without_labels();
            found.extend(self.engine.evaluate(&batch)?.nats.into_iter().map(|nats| -nats));
        }
        Ok(found)
    }

    /// Log-likelihood of each pixel given those before it, in nats: (height · width) per image.
    ///
    /// # Errors
    /// Same as [`Model::log_likelihood`].
    pub fn log_likelihood_per_pixel(&mut self, images: &Images) -> Result<Vec<Vec<f32>>> {
        self.expect_autoregressive("gives pixels no likelihood")?;
        let set = self.tokens(images)?;
        let mut found = Vec::with_capacity(set.images());
        for start in (0..set.images()).step_by(BATCH) {
            let maps = surprise_maps(&mut *self.engine, &set, start..(start + BATCH).min(set.images()))?;
            found.extend(
                maps.chunks_exact(set.n_px.pixels()).map(|map| map.iter().map(|nats| -nats).collect::<Vec<f32>>()),
            );
        }
        Ok(found)
    }

    /// Features of each image: the layers' outputs, averaged over all pixels (Chen et al. 2020, section 2.4).
    ///
    /// # Errors
    /// When the model lacks a requested layer, an image can't be decoded, or the engine fails.
    #[doc(alias = "embed")]
    #[doc(alias = "embedding")]
    pub fn features(&mut self, images: &Images, layers: &Layers) -> Result<Features> {
        self.pooled_features(images, layers, Pooling::Mean)
    }

    /// Features of each image under another pooling than the mean.
    ///
    /// With [`Pooling::None`] the values are (images, layers, T, n_embd).
    ///
    /// # Errors
    /// Same as [`Model::features`].
    pub fn pooled_features(&mut self, images: &Images, layers: &Layers, pooling: Pooling) -> Result<Features> {
        let layers = layers.of(self.model.config.n_layer)?;
        let mut values = Vec::new();
        let damaged = features(
            &mut Collective::solo(),
            &mut *self.engine,
            images,
            &self.quantizer,
            (&layers, pooling),
            &mut |_, found| {
                values.extend_from_slice(found);
                Ok(())
            },
            &mut |_| (),
        )?;
        expect_whole(&damaged).map(|()| Features { layers, n_embd: self.model.config.n_embd, values })
    }

    /// Classifies each image: its class and the probabilities of all classes.
    ///
    /// # Errors
    /// When the model is not a classifier, an image can't be decoded, or the engine fails.
    #[doc(alias = "predict_proba")]
    pub fn classify(&mut self, images: &Images) -> Result<Vec<Classification>> {
        let set = self.tokens(images)?;
        let mut found = Vec::with_capacity(set.images());
        for start in (0..set.images()).step_by(BATCH) {
            let batch = set.batch(start..(start + BATCH).min(set.images()));
            found.extend(self.classify_batch(&batch, start as u64)?);
        }
        Ok(found)
    }

    /// Classes of a batch of token images. A masked model draws the masks of image `i` by the number `first` + `i`.
    ///
    /// # Errors
    /// As [`Model::classify`].
    pub fn classify_batch(&mut self, batch: &Batch, first: u64) -> Result<Vec<Classification>> {
        classify(&mut *self.engine, batch, first)
    }

    /// Fits an anomaly detector to good images.
    ///
    /// It is fitted to the training part of `good`; the validation and test parts are held out for the threshold.
    /// How many these are decides the lowest rate of false alarms that [`InspectionFit::threshold`] can promise: 19 are
    /// needed for 5 %, 99 for 1 %. [`Model::save`] saves the fit with the model.
    ///
    /// # Errors
    /// When no image is held out, or the engine fails.
    pub fn fit_inspection(&mut self, good: &Dataset) -> Result<&InspectionFit> {
        let held_out = [&good.validation, &good.test].into_iter().flat_map(|part| part.indices().into_owned());
        let divided = GoodSplit {
            reference: good.split(Split::Train)?,
            held_out: good.split(Split::All)?.pick(held_out.map(|i| i as usize)),
            how: "its training part, and its validation and test parts".into(),
            notes: Vec::new(),
        };
        let tiles = self.model.palette.resampling() == Resampling::Crop;
        let request = inspect::FitRequest {
            view: if tiles { InputMode::Tiles } else { InputMode::Whole },
            choice: ScoreChoice::Named(Score::DEFAULT),
            data: &good.name,
            // Whatever is held out; the threshold refuses lower rates than it suffices for.
            false_alarms: 0.5,
            odd: None,
            threads: self.options.threads,
        };
        let fitted = inspect::fit(&mut *self.engine, &self.model, &divided, request, &mut |_, _, _| ())?;
        let inspector = Inspector::new(fitted.fit, &self.model, self.options.threads);
        Ok(&self.inspector.insert(inspector).fit)
    }

    /// Scores images with the fitted anomaly detector: score, p-value and map of each image.
    ///
    /// The detector comes from [`Model::fit_inspection`] or `igpt inspect fit`.
    ///
    /// # Errors
    /// When no detector was fitted, an image can't be decoded, or the engine fails.
    #[doc(alias = "anomaly")]
    #[doc(alias = "anomaly_detection")]
    pub fn inspect(&mut self, images: &Images) -> Result<Vec<inspect::InspectionResult>> {
        let Some(inspector) = &self.inspector else { return Err(unfitted()) };
        let mut found = Vec::with_capacity(images.len());
        let mut take = |_: &inspect::NamedPicture, verdict| {
            found.push(verdict);
            Ok(())
        };
        let damaged = inspector.inspect_images(&mut *self.engine, images, &mut take, &mut |_, _| ())?;
        expect_whole(&damaged).map(|()| found)
    }

    /// Anomaly detector that was fitted to the model.
    ///
    /// # Errors
    /// When nothing was fitted.
    pub fn inspection(&self) -> Result<&InspectionFit> {
        self.inspector.as_ref().map(|inspector| &inspector.fit).ok_or_else(unfitted)
    }

    /// Writes a model directory in Hugging Face's layout, which transformers can open.
    ///
    /// # Errors
    /// When the directory can't be written.
    #[doc(alias = "save_pretrained")]
    pub fn save(&self, directory: impl AsRef<Path>) -> Result<()> {
        let directory = directory.as_ref();
        self.model.save(directory, &ModelCard::default(), SaveType::F32)?;
        match &self.inspector {
            Some(inspector) => inspector.fit.save(directory),
            None => Ok(()),
        }
    }

    fn expect_autoregressive(&self, what: &str) -> Result<()> {
        match self.model.config.objective {
            Objective::Autoregressive => self.model.expect_generative("the model"),
            Objective::Masked => Err(Error::Invalid(format!(
                "a model of masked pixels {what}: pretrain with the autoregressive objective"
            ))),
        }
    }
}

fn unfitted() -> Error {
    Error::Missing("the model knows no good images: fit_inspection comes first".into())
}

/// Refuses images that could not be decoded, because results are in the order of the images.
fn expect_whole(damaged: &[DamagedImage]) -> Result<()> {
    match damaged.first() {
        Some(image) => Err(Error::Invalid(format!("{}: {}; leave it out, or mend it", image.name, image.problem))),
        None => Ok(()),
    }
}

impl PretrainSummary {
    /// Opens the model of the run.
    ///
    /// # Errors
    /// Same as [`Model::open`]; a run that was stopped has no model yet.
    pub fn open(&self) -> Result<Model> {
        Model::open(&self.run_dir)
    }
}

impl FinetuneSummary {
    /// Opens the classifier of the run.
    ///
    /// # Errors
    /// Same as [`Model::open`]; a run that was stopped has no model yet.
    pub fn open(&self) -> Result<Model> {
        Model::open(&self.run_dir)
    }
}
