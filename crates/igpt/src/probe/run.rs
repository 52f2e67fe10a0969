//! Whole probe of a model on a data set: features, choice of a layer, test, and baselines.

use super::few::{FewLabelAccuracy, few_labels};
use super::labelled::{LabelledDataset, LabelledSplit, collect, labels};
use super::protocol::{FeatureView, TestResult, centred, choose, judge, majority};
use super::solver::{ProbeFitter, Solver, SolverChoice};
use super::{LabelledFeatures, Workers};
use crate::data::{DamagedImage, Dataset, Images};
use crate::device::Engine;
use crate::evaluate::Layers;
use crate::machine::{MachineLimits, format_bytes};
use crate::model::ModelDir;
use crate::palette::Quantizer;
use crate::ranks::Collective;
use crate::setters::setters;
use crate::stats::wilson;
use crate::{Error, Result, device};

/// Settings of a probe: layers, images, classifier and seeds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProbeSettings {
    /// Layers to choose from.
    pub layers: Layers,
    /// Number of training images to use, the first of an order shuffled by the seed; `None` uses all.
    pub images: Option<usize>,
    /// Largest number of validation images and of test images, each spread evenly; `None` uses all.
    pub held_out: Option<usize>,
    /// Classifier to fit.
    pub solver: Solver,
    /// Number of layers around the best one whose concatenation is probed too; `None` skips this.
    pub concat: Option<usize>,
    /// Numbers of labels per class for probes with few labels.
    pub labels_per_class: Vec<usize>,
    /// Number of subsets for each of `labels_per_class`.
    pub seeds: u64,
    /// Seed of the random network, of SGD's order and of `images`.
    pub seed: u64,
    /// Options of the engine.
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

/// Callback for progress; its arguments are the activity, the amount done and the total.
pub type ProbeProgress<'a> = &'a mut dyn FnMut(&'static str, usize, usize);

/// Report of a probe: accuracies by layer, test result, baselines and confusion matrix.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct ProbeReport {
    /// Layers that were probed.
    pub layers: Vec<usize>,
    /// Validation accuracy of each layer, with its best strength.
    pub validation_accuracy: Vec<f64>,
    /// Layer with the highest validation accuracy.
    pub best_layer: usize,
    /// Strength chosen for the best layer (the learning rate of SGD; `None` for k-NN).
    pub strength: Option<f64>,
    /// Test accuracy of the best layer, fitted to training and validation images.
    pub test_accuracy: f64,
    /// 95 % confidence interval (Wilson) of `test_accuracy`.
    pub interval: [f64; 2],
    /// Whether the fit that was tested converged: L-BFGS stops after 500 steps.
    #[serde(default)]
    pub converged: bool,
    /// Baselines: test accuracies on the same images without the trained model.
    pub baselines: ProbeBaselines,
    /// Probe of several layers side by side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concat: Option<ConcatProbe>,
    /// Probes with few labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub few_labels: Vec<FewLabelReport>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Confusion matrix: test images by (true class, predicted class).
    pub confusion: Vec<Vec<usize>>,
    /// Numbers of training, validation and test images.
    pub images: [usize; 3],
    /// Number of images left out because they have no label.
    pub unlabelled: usize,
    /// Classifier that was fitted.
    pub solver: Solver,
    /// Images that could not be decoded.
    #[serde(skip)]
    pub damaged: Vec<DamagedImage>,
}

impl ProbeReport {
    /// 95 % confidence intervals (Wilson) of `validation_accuracy`.
    pub fn validation_intervals(&self) -> Vec<[f64; 2]> {
        self.validation_accuracy.iter().map(|&share| wilson(share, self.images[1])).collect()
    }
}

/// Baselines of a probe: test accuracies that a model must exceed to have learned anything.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct ProbeBaselines {
    /// Test accuracy on the pixels in the palette's colours.
    pub raw_pixels: f64,
    /// Test accuracy on the best layer of the same network with random weights.
    ///
    /// The weights are drawn as in the paper's code, regardless of how the model's own training was initialised, which
    /// its directory doesn't record. The baseline is therefore the same for all models of a shape.
    pub random_init: f64,
    /// Test accuracy of always predicting the commonest class.
    pub majority: f64,
    /// Full test result of `raw_pixels`.
    pub raw_pixels_verdict: TestResult,
    /// Full test result of `random_init`.
    pub random_init_verdict: TestResult,
    /// Best layer of the random network.
    pub random_init_layer: usize,
}

/// Probe of several layers, concatenated to one feature (Chen et al. 2020, section 4.4).
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct ConcatProbe {
    /// Layers that are concatenated.
    pub layers: Vec<usize>,
    /// Test result of the concatenation.
    #[serde(flatten)]
    pub verdict: TestResult,
}

/// Probe with few labels: accuracies for one number of labels per class.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct FewLabelReport {
    /// Accuracies on features of the best layer.
    #[serde(flatten)]
    pub features: FewLabelAccuracy,
    /// Accuracies on the pixels of the same subsets.
    pub raw_pixels: FewLabelAccuracy,
}

/// Training, validation and test split.
type Parts = [LabelledSplit; 3];

/// Probes `model` on the labelled images of `dataset`.
///
/// With several ranks, each calls this function with the same model and images. They divide the forward passes, and the
/// layers of each sweep. The report is the same on every rank and for any number of ranks.
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
    // Impossible requests are refused before the long part of the work.
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

/// Refuses features that would not fit into the `left` bytes.
///
/// The features of all layers and the pixels are held at once. Beside them are three copies of what a classifier is
/// fitted to: `concat` layers or the pixels.
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
            format_bytes(need),
            format_bytes(left)
        ))),
        _ => Ok(()),
    }
}

/// Reader of a model's features of labelled images.
struct Reader<'a> {
    images: &'a LabelledDataset,
    quantizer: &'a Quantizer,
    layers: &'a [usize],
}

impl Reader<'_> {
    /// Reads the features of the three splits.
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

/// Finds the best layer, and the best setting of every layer, by validation accuracy.
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

/// Tests the chosen setting of the layer at `slot`.
fn test(fitter: &ProbeFitter<'_>, parts: &Parts, slot: usize, choice: &SolverChoice) -> Result<TestResult> {
    let view = FeatureView { train: examples(&parts[0], slot)?, validation: examples(&parts[1], slot)? };
    judge(fitter, view, choice, examples(&parts[2], slot)?)
}

/// Probes `count` layers around the best one, side by side.
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

/// Splits whose only layer is the concatenation of several.
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

/// A split's labels without its features.
fn labels_of(part: &LabelledSplit) -> LabelledSplit {
    LabelledSplit { labels: part.labels.clone(), ..LabelledSplit::default() }
}

fn examples(part: &LabelledSplit, slot: usize) -> Result<LabelledFeatures<'_>> {
    let features = &part.layers[slot];
    LabelledFeatures::new(features, features.len() / part.labels.len(), &part.labels)
}
