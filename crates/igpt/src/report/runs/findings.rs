//! Findings about one run: its likelihood beside the baselines', its pictures, and the probes of its layers.

use std::path::{Path, PathBuf};

use super::features::{self, FeatureMap, LayerProbes};
use super::pictures::{self, ModelPictures};
use super::settings::{ReportProgress, ReportSettings};
use super::words::grouped;
use crate::data::{self, Dataset, Fingerprint, IN_MEMORY, Preprocess, Split, TokenSet, colors, tokenize};
use crate::device::Engine;
use crate::evaluate::{
    Accuracy, BaselineScores, Likelihood, NgramBaselines, Reference, Surprise, Verdict, VerdictContext, accuracy,
    likelihood, surprise,
};
use crate::inspect::{InspectionFit, Inspector, Score};
use crate::model::{ModelConfig, ModelDir, Objective};
use crate::palette::{Distortion, Quantizer};
use crate::ranks::Collective;
use crate::report::page::ImageWithMap;
use crate::train::run::{fingerprint_of, training_course};
use crate::train::{Keep, Metrics, MetricsRow, RunConfig, open_model_dir};
use crate::{Error, Result, device, files};

/// Findings about one run, for a report: all that was measured and drawn.
#[derive(Debug)]
pub struct Findings {
    /// Path of the run directory, or of the model directory.
    pub run: PathBuf,
    /// Name of the run on the page.
    pub name: String,
    /// Data set that the run is evaluated on.
    pub data: String,
    /// Directory where the data set was looked for, if one was given.
    pub data_dir: Option<PathBuf>,
    /// Whether the data set is the run's own, so that the network has not seen the test images.
    pub own_data: bool,
    /// Whether the model is a classifier that was trained from scratch.
    pub from_scratch: bool,
    /// Number of training images: the few of a classifier with few labels, otherwise the whole training split.
    pub train_images: usize,
    /// Number of images in the test split.
    pub test_images: usize,
    /// Number of test images that were evaluated.
    pub looked_at: usize,
    /// Network of the model.
    pub config: ModelConfig,
    /// Quantizer with the model's palette.
    pub quantizer: Quantizer,
    /// Rows of `metrics.jsonl`; empty for a model directory.
    pub metrics: Vec<MetricsRow>,
    /// Step whose weights the model has, if known.
    pub taken: Option<u64>,
    /// Likelihood of the test images; for a masked model, its own loss instead.
    ///
    /// `None` for a classifier that was trained without a generative loss.
    pub likelihood: Option<Likelihood>,
    /// N-gram baselines on the same test images.
    pub baselines: BaselineScores,
    /// Distortion by the palette; its errors are unknown if only tokens of the images are available.
    pub distortion: Distortion,
    /// Whether the images' own pixels are available, or only their tokens.
    pub has_pixels: bool,
    /// Samples and completions; `None` for a masked model, which can't draw.
    pub drawn: Option<ModelPictures>,
    /// Sample grids drawn during training, as (step, PNG file); at most as many as fit side by side.
    pub over_time: Vec<(u64, Vec<u8>)>,
    /// Oddest test images beside their surprise maps.
    pub odd: Vec<ImageWithMap>,
    /// Score of `igpt inspect fit` by which `odd` is sorted.
    ///
    /// `None` if the model has no such fit; then images are sorted by their nats in excess of the size of their PNG
    /// files.
    pub odd_by: Option<Score>,
    /// Probe of the layers.
    pub probe: Option<LayerProbes>,
    /// Feature map of test images.
    pub map: Option<FeatureMap>,
    /// Accuracy of a fine-tuned model on the same test images.
    pub classifier: Option<Accuracy>,
    /// Findings that are missing, with the reason.
    pub absent: Vec<String>,
}

impl Findings {
    /// Gathers the findings about a run directory or a model directory.
    ///
    /// # Errors
    /// When there is no model, its data can't be had, or an engine fails.
    pub fn gather(run: &Path, settings: &ReportSettings, progress: ReportProgress<'_>) -> Result<Self> {
        let Opened { model, spec, data_dir, dataset, own_data, metrics, taken, from_scratch, trained_on } =
            Opened::open(run, settings)?;
        let ModelDir { config, palette, .. } = &model;
        let quantizer = Quantizer::new(palette.clone());
        let (size, channels) = (config.n_px, palette.channels());
        let train = dataset.split(Split::Train)?;
        let test = dataset.split(Split::Test)?;
        let whole = test.clone();
        let test = if settings.images > 0 { test.spread(settings.images) } else { test };
        let tokens = tokenize(&test, size, &quantizer)?;
        let counts = NgramBaselines::fit(&tokenize(&train, size, &quantizer)?, config.n_vocab);
        let (histogram, _) = colors::preprocessed_color_histogram(
            &test,
            Some(Preprocess::of(quantizer.palette(), size)),
            channels,
            None,
            settings.options.threads,
        )?;

        let mut absent = Vec::new();
        let mut engine = device::open(config, &model.weights, &settings.options)?;
        let generates = model.expect_generative("").is_ok();
        let fit = InspectionFit::find(run, &model)?;
        let inspector = fit.map(|fit| Inspector::new(fit, &model, settings.options.threads));
        let fit = inspector.as_ref().map(|inspector| &inspector.fit);
        let reference = fit.map_or(Reference::Png(&quantizer), |fit| Reference::Context(&fit.reference));
        let scored = match generates {
            true => Scored::of(&mut *engine, &tokens, reference, channels, progress)?,
            false => Scored::default(),
        };
        let scores = match &inspector {
            Some(inspector) if !scored.surprise.is_empty() => {
                let mut told = |done, all| progress("inspecting", done, all);
                Some(inspector.scores(&mut *engine, &test, &mut told)?)
            }
            _ => None,
        };
        let drawn = match config.objective {
            _ if !generates => {
                absent.push(
                    "Likelihood, samples, completions and surprise maps: the model learned classes alone.".into(),
                );
                None
            }
            Objective::Autoregressive => {
                Some(ModelPictures::draw(&*engine, &quantizer, &whole, settings.seed, progress)?)
            }
            Objective::Masked => {
                absent.push("Samples, completions and surprise maps: the model was trained on masked pixels.".into());
                None
            }
        };
        let classifier = match config.class_head {
            Some(_) if model.classes() != dataset.classes => {
                absent.push(format!("The classifier: its classes are not those of {spec}."));
                None
            }
            Some(_) => {
                let mut told = |done| progress("classifying", done, tokens.images());
                Some(accuracy(&mut *engine, &tokens, &mut told)?)
            }
            None => None,
        };
        let probe = LayerProbes::of(run, &spec, &model, &dataset, settings, &mut absent, progress);
        let probe = probe.unwrap_or_else(|error| {
            absent.push(format!("What the layers know: {error}."));
            None
        });
        let layer = probe.as_ref().map_or(config.n_layer.div_ceil(2), |probe| probe.report.best_layer);
        Ok(Self {
            run: run.components().collect(),
            name: run.display().to_string(),
            data_dir,
            own_data,
            from_scratch,
            train_images: trained_on.unwrap_or(train.len()),
            test_images: whole.len(),
            looked_at: tokens.images(),
            metrics,
            taken,
            baselines: counts.score(&tokens),
            distortion: Distortion::of(&histogram, &quantizer),
            has_pixels: test.tokens().is_none(),
            drawn,
            over_time: pictures::over_time(run)?,
            odd: pictures::odd(&mut *engine, &quantizer, &tokens, &scored.surprise, scores.as_deref())?,
            odd_by: scores.and(fit).map(|fit| fit.score),
            map: features::map(&mut *engine, &test, &quantizer, layer, &dataset.classes, progress)?,
            likelihood: scored.likelihood,
            classifier,
            probe,
            absent,
            data: spec,
            config: model.config,
            quantizer,
        })
    }

    /// Shortens the names of several runs to the parts that their directories don't share.
    pub fn shorten_names(runs: &mut [Self]) {
        let parents = runs.iter().map(|run| run.run.parent().unwrap_or(Path::new("")));
        let shared = |a: &Path, b: &Path| a.ancestors().find(|a| b.starts_with(a)).map(PathBuf::from);
        let common = parents.map(PathBuf::from).reduce(|a, b| shared(&a, &b).unwrap_or_default()).unwrap_or_default();
        for run in runs {
            let rest = run.run.strip_prefix(&common).unwrap_or(&run.run);
            run.name = rest.display().to_string();
        }
    }

    /// Best of the baselines, as (name, nats per token).
    pub fn best_baseline(&self) -> (&'static str, f64) {
        self.baselines.best_named()
    }

    /// Formats nats per token with half the width of the 95 % interval over images.
    pub fn with_interval(&self) -> Option<String> {
        let likelihood = self.likelihood.as_ref()?;
        let nats = likelihood.nats_per_token;
        Some(match likelihood.interval95 {
            // The interval is in nats per image.
            Some([low, high]) => {
                let reach = (high - low) / 2.0 * nats / likelihood.nats_per_image;
                format!("{nats:.4} ± {reach:.4}")
            }
            None => format!("{nats:.4}"),
        })
    }

    /// PSNR of the palette in dB; `None` if the images' pixels are not available.
    pub fn psnr_db(&self) -> Option<f64> {
        self.has_pixels.then_some(self.distortion.psnr_db)
    }

    /// Lead of the model over the best baseline, as a share of the baseline's nats.
    pub fn lead(&self) -> Option<f64> {
        self.verdict().map(|verdict| verdict.below_best_baseline)
    }

    /// Verdict on the model by comparison with the baselines; `None` without a likelihood.
    pub fn verdict(&self) -> Option<Verdict> {
        let nats = self.likelihood.as_ref()?.nats_per_token;
        let ModelConfig { n_px, n_vocab, .. } = self.config;
        let of = VerdictContext { n_px, n_vocab, course: training_course(&self.run) };
        Some(Verdict::new(nats, &self.baselines, &of))
    }

    /// Number of evaluated test images, in words.
    pub(super) fn shown(&self) -> String {
        let (shown, all) = (grouped(self.looked_at), grouped(self.test_images));
        if shown == all {
            format!("the {all} test images")
        } else {
            format!("{shown} of {all} test images, spread evenly")
        }
    }

    /// Whether the model predicts masked pixels, so that its loss is no likelihood.
    pub fn is_masked(&self) -> bool {
        self.config.objective == Objective::Masked
    }
}

/// Contents of a run directory or a model directory, with the data set to evaluate on.
struct Opened {
    model: ModelDir,
    /// Name of the data set.
    spec: String,
    data_dir: Option<PathBuf>,
    dataset: Dataset,
    own_data: bool,
    metrics: Vec<MetricsRow>,
    taken: Option<u64>,
    from_scratch: bool,
    trained_on: Option<usize>,
}

impl Opened {
    fn open(run: &Path, settings: &ReportSettings) -> Result<Self> {
        let model = open_model_dir(run)?;
        let path = run.join("config.resolved.toml");
        let config = match path.is_file() {
            true => {
                let text = files::read_to_string(&path)?;
                Some(RunConfig::from_toml(&text, &path)?)
            }
            false => None,
        };
        let given = settings.dataset.as_ref().map(|dataset| &dataset.name).or(settings.data.as_ref());
        let Some(spec) = given.or(config.as_ref().map(|config| &config.data.spec)) else {
            return Err(Error::Invalid(format!(
                "{} is a model without a run: say with --data which images to look at it with",
                run.display()
            )));
        };
        if settings.dataset.is_none() && spec == IN_MEMORY {
            return Err(Error::Invalid(format!(
                "{} was trained on images in memory, which nobody can open again: give them, or others by --data",
                run.display()
            )));
        }
        let mut open = settings.open.clone();
        open.data_dir = open.data_dir.or_else(|| config.as_ref().and_then(|config| config.data.dir.clone()));
        let metrics = run.join("metrics.jsonl");
        let metrics = if metrics.is_file() { Metrics::read(&metrics)? } else { Vec::new() };
        let dataset = match &settings.dataset {
            Some(dataset) => dataset.clone(),
            None => data::open(spec, &open)?,
        };
        let own_data = match &settings.dataset {
            Some(dataset) => fingerprint_of(run).is_some_and(|known| known == Fingerprint::of(dataset)),
            None => settings.data.is_none(),
        };
        let finetune = config.as_ref().and_then(|config| config.finetune.as_ref());
        let few = finetune.and_then(|finetune| finetune.labels_per_class);
        Ok(Self {
            from_scratch: finetune.is_some_and(|finetune| finetune.model.is_none()),
            trained_on: few.map(|count| count * dataset.classes.len()),
            data_dir: open.data_dir,
            dataset,
            own_data,
            spec: spec.clone(),
            taken: config.as_ref().and_then(|config| taken(config, &metrics)),
            model,
            metrics,
        })
    }
}

/// Step whose weights a run's model has: that of the best validation if the run keeps those, or the last.
fn taken(config: &RunConfig, metrics: &[MetricsRow]) -> Option<u64> {
    let validations = || metrics.iter().filter(|row| row.split == "validation");
    let best = match (&config.finetune, config.train.keep) {
        // On a tie the first accuracy counts.
        (Some(_), _) => validations().rev().max_by(|a, b| a.accuracy.partial_cmp(&b.accuracy).expect("no NaN")),
        (None, Keep::Best) => validations().min_by(|a, b| a.loss.total_cmp(&b.loss)),
        (None, Keep::Last) => None,
    };
    best.or(metrics.last()).map(|row| row.step)
}

/// Likelihood of the test images, and the surprise of each, if the model has one.
#[derive(Default)]
struct Scored {
    likelihood: Option<Likelihood>,
    surprise: Vec<Surprise>,
}

impl Scored {
    fn of(
        engine: &mut dyn Engine,
        tokens: &TokenSet,
        reference: Reference<'_>,
        channels: usize,
        progress: ReportProgress<'_>,
    ) -> Result<Self> {
        let mut told = |done| progress("scoring", done, tokens.images());
        if engine.config().objective == Objective::Masked {
            let likelihood = likelihood(&mut Collective::solo(), engine, tokens, channels, &mut told)?;
            return Ok(Self { likelihood: Some(likelihood), surprise: Vec::new() });
        }
        let surprise = surprise(engine, tokens, reference, &mut told)?;
        let nats: Vec<f64> = surprise.iter().map(|surprise| surprise.nats).collect();
        Ok(Self { likelihood: Some(Likelihood::of(&nats, tokens.n_px.pixels(), channels)?), surprise })
    }
}
