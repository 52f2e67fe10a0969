//! The whole probe of a model on a data set: features, the choice of a layer, the test, and the baselines beside it.

use super::few::{FewLabelAccuracy, few_labels};
use super::labelled::{LabelledDataset, LabelledSplit, collect, labels};
use super::protocol::{FeatureView, TestResult, centred, choose, judge, majority};
use super::solver::{ProbeFitter, Solver, SolverChoice};
use super::{LabelledFeatures, Workers};
use crate::data::{DamagedImage, Dataset, Images};
use crate::device::Engine;
use crate::evaluate::Layers;
use crate::machine::{MachineLimits, size_in_words};
use crate::model::ModelDir;
use crate::palette::Quantizer;
use crate::ranks::Collective;
use crate::setters::setters;
use crate::stats::wilson;
use crate::{Error, Result, device};

/// What to probe and how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProbeSettings {
    /// Layers to choose from.
    pub layers: Layers,
    /// Training images, the first of an order that the seed shuffles; none takes all.
    pub images: Option<usize>,
    /// Images of validation and of test at most, each spread evenly; none takes all.
    pub held_out: Option<usize>,
    /// Which classifier.
    pub solver: Solver,
    /// Also the concatenation of so many layers around the best one.
    pub concat: Option<usize>,
    /// Also probes with so few labels a class.
    pub labels_per_class: Vec<usize>,
    /// Subsets for each number of labels.
    pub seeds: u64,
    /// Seed of the random network, of SGD's order and of `images`.
    pub seed: u64,
    /// How the engine computes.
    pub options: device::EngineOptions,
}

impl Default for ProbeSettings {
    fn default() -> Self {
        Self {
            layers: Layers::All,
            images: None,
            held_out: None,
            solver: Solver::default(),
            concat: None,
            labels_per_class: Vec::new(),
            seeds: 5,
            seed: 0,
            options: device::EngineOptions::new(device::Precision::Bf16),
        }
    }
}

setters!(ProbeSettings {
    layers: Layers,
    images: Option<usize>,
    held_out: Option<usize>,
    solver: Solver,
    concat: Option<usize>,
    labels_per_class: Vec<usize>,
    seeds: u64,
    seed: u64,
    options: device::EngineOptions,
});

/// Told what is being done, how much of it is done, and of how much.
pub type ProbeProgress<'a> = &'a mut dyn FnMut(&'static str, usize, usize);

/// What a probe found.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct ProbeReport {
    /// The layers swept.
    pub layers: Vec<usize>,
    /// Share of right classes on validation of each layer, under its best strength.
    pub validation_accuracy: Vec<f64>,
    /// The layer that does best on validation.
    pub best_layer: usize,
    /// The strength chosen for it (the learning rate of SGD; none for nearest neighbours).
    pub strength: Option<f64>,
    /// Share of right classes on test of the best layer, fitted to train and validation.
    pub test_accuracy: f64,
    /// 95 % interval of it, Wilson's.
    pub interval: [f64; 2],
    /// Whether the fit that was tested came to its end: L-BFGS is broken off after 500 steps.
    #[serde(default)]
    pub converged: bool,
    /// What the same images give without the model.
    pub baselines: ProbeBaselines,
    /// Several layers side by side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concat: Option<ConcatProbe>,
    /// Probes with few labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub few_labels: Vec<FewLabelReport>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Test images by (true class, predicted class).
    pub confusion: Vec<Vec<usize>>,
    /// Images of train, validation and test.
    pub images: [usize; 3],
    /// Images left out because they carry no label.
    pub unlabelled: usize,
    /// Which classifier.
    pub solver: Solver,
    /// Images that could not be decoded.
    #[serde(skip)]
    pub damaged: Vec<DamagedImage>,
}

impl ProbeReport {
    /// 95 % intervals of `validation_accuracy`, Wilson's.
    pub fn validation_intervals(&self) -> Vec<[f64; 2]> {
        self.validation_accuracy.iter().map(|&share| wilson(share, self.images[1])).collect()
    }
}

/// Test accuracies that a model must beat to have learned anything.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct ProbeBaselines {
    /// Of the pixels as the palette gives them.
    pub raw_pixels: f64,
    /// Of the same network with random weights, its best layer. They are drawn as the paper's code does, whatever the
    /// model's own training began with: its directory doesn't say, and so the baseline is one and the same for all
    /// models of a shape.
    pub random_init: f64,
    /// Of the commonest class.
    pub majority: f64,
    /// How `raw_pixels` came about.
    pub raw_pixels_verdict: TestResult,
    /// How `random_init` came about.
    pub random_init_verdict: TestResult,
    /// The best layer of the random network.
    pub random_init_layer: usize,
}

/// Layers side by side as one feature (Chen et al. 2020, section 4.4).
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct ConcatProbe {
    /// Which.
    pub layers: Vec<usize>,
    /// What came of it.
    #[serde(flatten)]
    pub verdict: TestResult,
}

/// A number of labels a class.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct FewLabelReport {
    /// Features of the best layer.
    #[serde(flatten)]
    pub features: FewLabelAccuracy,
    /// Pixels on the same subsets.
    pub raw_pixels: FewLabelAccuracy,
}

/// Train, validation and test.
type Parts = [LabelledSplit; 3];

/// Probes `model` on the labelled images of `dataset`.
///
/// Several ranks each call this with the same model and images: they divide the forward passes and, of each sweep, the
/// layers. The same report on every rank and for any number of ranks.
///
/// # Errors
/// When the labels don't allow it (see [`LabelledDataset::of`]), a layer is out of range, a class has too few images for
/// `labels_per_class`, features are not finite, or a rank is gone.
pub fn probe(
    ranks: &mut Collective,
    model: &ModelDir,
    dataset: &Dataset,
    settings: &ProbeSettings,
    progress: ProbeProgress<'_>,
) -> Result<ProbeReport> {
    let mut layers = settings.layers.of(model.config.n_layer)?;
    layers.sort_unstable();
    let mut images = LabelledDataset::of(dataset, settings.images, settings.seed)?;
    if let Some(held_out) = settings.held_out {
        images.validation = images.validation.spread(held_out);
        images.test = images.test.spread(held_out);
    }
    let classes = images.classes.len();
    // What cannot be done is refused before the long part of the work.
    for &count in &settings.labels_per_class {
        super::few::subset(&labels(&images.train), classes, count, 0)?;
    }
    if let Some(count) = settings.concat.filter(|_| layers.len() < 2) {
        return Err(Error::Invalid(format!(
            "{count} layers cannot be put side by side: only one is swept, name others"
        )));
    }
    if let Some(count) = settings.concat.filter(|count| !(2..=layers.len()).contains(count)) {
        return Err(Error::Invalid(format!(
            "{count} layers cannot be put side by side: say 2 to {}, the layers swept",
            layers.len()
        )));
    }
    expect_room(MachineLimits::now().usable(), &images, model, layers.len(), settings.concat.unwrap_or(1))?;
    let workers = Workers::new(settings.options.threads);
    let fitter = ProbeFitter { workers: &workers, solver: settings.solver, classes, seed: settings.seed };
    let quantizer = Quantizer::new(model.palette.clone());

    let mut engine = device::open(&model.config, &model.weights, &settings.options)?;
    let reader = Reader { images: &images, quantizer: &quantizer, layers: &layers };
    let mut parts = reader.read(ranks, &mut *engine, true, "features", progress)?;
    drop(engine);
    let (best, choices) = sweep(ranks, &fitter, &parts, "layers", progress)?;
    let verdict = test(&fitter, &parts, best, &choices[best])?;

    let concat = match settings.concat {
        Some(count) => Some(concat(ranks, &fitter, &parts, (&layers, best, count))?),
        None => None,
    };
    let pixels = parts.each_mut().map(|part| {
        let values = std::mem::take(&mut part.pixels);
        LabelledSplit { layers: vec![values], ..labels_of(part) }
    });
    let (_, of_pixels) = sweep(ranks, &fitter, &pixels, "pixels", progress)?;
    let raw_pixels = test(&fitter, &pixels, 0, &of_pixels[0])?;
    let mut few = Vec::new();
    for (i, &count) in settings.labels_per_class.iter().enumerate() {
        progress("few labels", i, settings.labels_per_class.len());
        let run = |parts: &Parts, slot: usize| {
            let view = FeatureView { train: examples(&parts[0], slot)?, validation: examples(&parts[1], slot)? };
            few_labels(&fitter, view, examples(&parts[2], slot)?, count, 0..settings.seeds)
        };
        few.push(FewLabelReport { features: run(&parts, best)?, raw_pixels: run(&pixels, 0)? });
    }
    drop(pixels);
    let majority = majority(&[&parts[0].labels[..], &parts[1].labels].concat(), &parts[2].labels);
    let counts = [0, 1, 2].map(|i| parts[i].labels.len());
    let damaged = parts.into_iter().flat_map(|part| part.damaged).collect();

    let mut engine = device::init(&model.config, settings.seed, &settings.options)?;
    let random = reader.read(ranks, &mut *engine, false, "random net", progress)?;
    let (random_best, of_random) = sweep(ranks, &fitter, &random, "random net", progress)?;
    let random_init = test(&fitter, &random, random_best, &of_random[random_best])?;

    Ok(ProbeReport {
        validation_accuracy: choices.iter().map(|choice| choice.accuracy).collect(),
        best_layer: layers[best],
        strength: verdict.strength,
        test_accuracy: verdict.test_accuracy,
        interval: verdict.interval,
        converged: verdict.converged,
        baselines: ProbeBaselines {
            raw_pixels: raw_pixels.test_accuracy,
            random_init: random_init.test_accuracy,
            majority,
            raw_pixels_verdict: raw_pixels,
            random_init_verdict: random_init,
            random_init_layer: layers[random_best],
        },
        concat,
        few_labels: few,
        classes: images.classes,
        confusion: verdict.confusion,
        images: counts,
        unlabelled: images.unlabelled,
        solver: settings.solver,
        damaged,
        layers,
    })
}

/// Refuses features that would not fit into the bytes that are `left`: those of all layers and the pixels are held at
/// once, and beside them three copies of what a classifier is fitted to, `concat` layers or the pixels.
pub(super) fn expect_room(
    left: Option<u64>,
    images: &LabelledDataset,
    model: &ModelDir,
    layers: usize,
    concat: usize,
) -> Result<()> {
    let (width, pixels) = (model.config.n_embd, model.config.n_ctx() * model.palette.channels());
    let count = images.train.len() + images.validation.len() + images.test.len();
    let need = (size_of::<f32>() * count * (layers * width + pixels + 3 * pixels.max(concat * width))) as u64;
    match left {
        Some(left) if need > left => Err(Error::Invalid(format!(
            "the features of {count} images at {layers} layers need {} of memory, but {} are left: take fewer --layers, \
             or fewer images with --images and --held-out",
            size_in_words(need),
            size_in_words(left)
        ))),
        _ => Ok(()),
    }
}

/// Whose features are read.
struct Reader<'a> {
    images: &'a LabelledDataset,
    quantizer: &'a Quantizer,
    layers: &'a [usize],
}

impl Reader<'_> {
    /// Features of the three parts.
    fn read(
        &self,
        ranks: &mut Collective,
        engine: &mut dyn Engine,
        with_pixels: bool,
        what: &'static str,
        progress: ProbeProgress<'_>,
    ) -> Result<Parts> {
        let LabelledDataset { train, validation, test, .. } = self.images;
        let total = train.len() + validation.len() + test.len();
        let mut before = 0;
        let mut part = |images: &Images| {
            let mut told = |done: usize| progress(what, before + done, total);
            let part = collect(ranks, engine, images, self.quantizer, self.layers, with_pixels, &mut told)?;
            before += images.len();
            if part.labels.is_empty() {
                return Err(Error::Missing("no labelled image of a split could be decoded".into()));
            }
            Ok(part)
        };
        Ok([part(train)?, part(validation)?, part(test)?])
    }
}

/// The best of the parts' layers and every layer's choice, on validation.
fn sweep(
    ranks: &mut Collective,
    fitter: &ProbeFitter<'_>,
    [train, validation, _]: &Parts,
    what: &'static str,
    progress: ProbeProgress<'_>,
) -> Result<(usize, Vec<SolverChoice>)> {
    let total = train.layers.len();
    let view = |slot: usize| Ok(FeatureView { train: examples(train, slot)?, validation: examples(validation, slot)? });
    let views = (0..total).map(view).collect::<Result<Vec<_>>>()?;
    let sweep = choose(ranks, fitter, &views, &mut |done| progress(what, done, total))?;
    Ok((sweep.best, sweep.choices))
}

/// The test of a choice for the layer at `slot`.
fn test(fitter: &ProbeFitter<'_>, parts: &Parts, slot: usize, choice: &SolverChoice) -> Result<TestResult> {
    let view = FeatureView { train: examples(&parts[0], slot)?, validation: examples(&parts[1], slot)? };
    judge(fitter, view, choice, examples(&parts[2], slot)?)
}

/// `count` layers around the best one side by side.
fn concat(
    ranks: &mut Collective,
    fitter: &ProbeFitter<'_>,
    parts: &Parts,
    (layers, best, count): (&[usize], usize, usize),
) -> Result<ConcatProbe> {
    let around: Vec<usize> = centred(best, count, layers.len() - 1).collect();
    let joined = joined(parts, &around)?;
    let (_, choices) = sweep(ranks, fitter, &joined, "concat", &mut |_, _, _| ())?;
    let verdict = test(fitter, &joined, 0, &choices[0])?;
    Ok(ConcatProbe { layers: around.iter().map(|&slot| layers[slot]).collect(), verdict })
}

/// Parts whose only layer is several side by side.
fn joined(parts: &Parts, slots: &[usize]) -> Result<Parts> {
    let join = |part: &LabelledSplit| {
        let width = examples(part, slots[0])?.width();
        let mut values = Vec::with_capacity(part.labels.len() * width * slots.len());
        for i in 0..part.labels.len() {
            slots.iter().for_each(|&slot| values.extend_from_slice(&part.layers[slot][i * width..][..width]));
        }
        Ok(LabelledSplit { layers: vec![values], ..labels_of(part) })
    };
    Ok([join(&parts[0])?, join(&parts[1])?, join(&parts[2])?])
}

/// A part without features.
fn labels_of(part: &LabelledSplit) -> LabelledSplit {
    LabelledSplit { labels: part.labels.clone(), ..LabelledSplit::default() }
}

fn examples(part: &LabelledSplit, slot: usize) -> Result<LabelledFeatures<'_>> {
    let features = &part.layers[slot];
    LabelledFeatures::new(features, features.len() / part.labels.len(), &part.labels)
}
