//! The linear probe as a classifier on top of a network: logistic regression on the features of one layer, of a network
//! that keeps its weights (Chen et al. 2020, section 3.4).
//!
//! The classifier of a model has no intercepts, so that transformers opens it, and the regression has none either. With few
//! labels, images without labels help: features are whitened by them, and their likeliest classes become labels
//! (self-training: Yarowsky 1995). Whether either is taken is for the validation images to decide.

use crate::data::Images;
use crate::device::Engine;
use crate::model::{ModelConfig, ParamLayout};
use crate::palette::Quantizer;
use crate::probe::labelled::{LabelledSplit, collect};
use crate::probe::solver::STRENGTHS;
use crate::probe::{LabelledFeatures, LogisticRegression, Standardizer, Whitening, Workers, accuracy};
use crate::ranks::Collective;
use crate::{Error, Result};

/// Features held at once, of all layers together: a gigabyte.
const VALUES: usize = 1 << 28;
/// Labels below which images without labels are looked at, and how many of these.
const FEW: usize = 4096;
/// What is added to the variances of features (1) before they are whitened.
const SHRINKAGE: f64 = 0.3;
/// Rounds of self-training.
const ROUNDS: usize = 3;
/// Weaker strengths are given up after so many that did not improve on the best.
const PATIENCE: usize = 2;

/// A classifier of the features of a layer.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::train) struct LinearHead {
    /// The layer, 0 to `n_layer`.
    pub(in crate::train) layer: usize,
    /// Weights of its features, (classes, n_embd).
    pub(in crate::train) weights: Vec<f32>,
    /// Share of the validation images that it classifies rightly, by which it was chosen.
    pub(in crate::train) accuracy: f64,
}

impl LinearHead {
    /// The `weights` of `network` with this head on top.
    pub(in crate::train) fn on(&self, network: &ModelConfig, mut weights: Vec<f32>) -> Vec<f32> {
        if let Some(score) = ParamLayout::new(network).tensor("score.weight") {
            weights[score.range()].copy_from_slice(&self.weights);
        }
        weights
    }
}

/// The images that a linear head is fitted to.
pub(in crate::train) struct LinearProbeInputs<'a> {
    /// What it is fitted to; labels are few or many.
    pub(in crate::train) labelled: &'a Images,
    /// All training images, of whose labels nothing is seen.
    pub(in crate::train) all: &'a Images,
    /// What the head is chosen by.
    pub(in crate::train) validation: &'a Images,
    pub(in crate::train) quantizer: &'a Quantizer,
    pub(in crate::train) classes: usize,
}

impl LinearProbeInputs<'_> {
    /// Fits classifiers to each layer of the network of `engine` and keeps the best.
    ///
    /// # Errors
    /// When features are not finite.
    pub(in crate::train) fn best(&self, engine: &mut dyn Engine, workers: &Workers) -> Result<LinearHead> {
        let layers: Vec<usize> = (0..=engine.config().n_layer).collect();
        let width = engine.config().n_embd;
        let room = VALUES / (layers.len() * width);
        let mut read = |images: &Images| -> Result<LabelledSplit> {
            let images = if images.len() > room { images.spread(room) } else { images.clone() };
            collect(&mut Collective::solo(), engine, &images, self.quantizer, &layers, false, &mut |_| {})
        };
        let (train, validation) = (read(self.labelled)?, read(self.validation)?);
        let others = (self.labelled.len() < FEW).then(|| read(&self.all.spread(FEW))).transpose()?;
        let mut best: Option<(LinearHead, Option<Whitening>)> = None;
        for layer in layers {
            let few = others.as_ref().map(|others| others.layers[layer].as_slice());
            let view = View {
                workers,
                width,
                classes: self.classes,
                train: (&train.layers[layer], &train.labels),
                validation: (&validation.layers[layer], &validation.labels),
                scale: few.unwrap_or(&train.layers[layer]),
            };
            let whitener = few.and_then(|features| Whitening::fit(workers, features, width, SHRINKAGE));
            let plain = (view.best()?, None);
            let whitened = whitener.map(|whitener| Ok::<_, Error>((view.whitened(&whitener)?, Some(whitener))));
            for ((accuracy, weights), whitener) in [Some(plain), whitened.transpose()?].into_iter().flatten() {
                if best.as_ref().is_none_or(|(best, _)| accuracy > best.accuracy) {
                    best = Some((LinearHead { layer, weights, accuracy }, whitener));
                }
            }
        }
        let (mut best, whitener) = best.ok_or_else(|| {
            Error::Missing("the model has no layer whose features a linear head could read: take another model".into())
        })?;
        let Some(others) = others else { return Ok(best) };
        let layer = best.layer;
        let mut head = best.weights.clone();
        for _ in 0..ROUNDS {
            let features = &others.layers[layer];
            let said: Vec<u32> = features.chunks_exact(width).map(|features| likeliest(&head, features)).collect();
            // Labels count half as much as all that is said of the other images.
            let times = (said.len() / (2 * train.labels.len())).max(1);
            let joined = [train.layers[layer].repeat(times), features.clone()].concat();
            let labels = [train.labels.repeat(times), said].concat();
            let view = View {
                workers,
                width,
                classes: self.classes,
                train: (&joined, &labels),
                validation: (&validation.layers[layer], &validation.labels),
                scale: features,
            };
            let (accuracy, weights) = match &whitener {
                Some(whitener) => view.whitened(whitener)?,
                None => view.best()?,
            };
            head.clone_from(&weights);
            if accuracy > best.accuracy {
                best = LinearHead { layer, weights, accuracy };
            }
        }
        Ok(best)
    }
}

/// Features of a layer with their classes.
struct View<'a> {
    workers: &'a Workers,
    width: usize,
    classes: usize,
    train: (&'a [f32], &'a [u32]),
    validation: (&'a [f32], &'a [u32]),
    /// What features are scaled by.
    scale: &'a [f32],
}

impl View<'_> {
    /// The highest accuracy on validation of any strength, and the weights of it, (classes, width).
    fn best(&self) -> Result<(f64, Vec<f32>)> {
        self.of_scaled(&Standardizer::without_intercept(self.scale, self.width), self.train.0, self.validation.0)
    }

    /// The same of whitened features; the weights are those of the features as they are.
    fn whitened(&self, whitener: &Whitening) -> Result<(f64, Vec<f32>)> {
        let [train, validation] = [self.train.0, self.validation.0].map(|features| whitener.apply(features));
        let (accuracy, weights) = self.of_scaled(&Standardizer::identity(self.width), &train, &validation)?;
        Ok((accuracy, whitener.head(&weights)))
    }

    fn of_scaled(&self, standardizer: &Standardizer, train: &[f32], validation: &[f32]) -> Result<(f64, Vec<f32>)> {
        let fitted = LabelledFeatures::new(train, self.width, self.train.1)?;
        let mut logistic = LogisticRegression::new(self.workers, standardizer, fitted, self.classes)?;
        let (mut best, mut since) = ((-1.0, Vec::new()), 0);
        for strength in STRENGTHS {
            let linear = logistic.fit(strength).linear;
            let share = accuracy(&linear.predict(self.workers, validation), self.validation.1);
            if share > best.0 {
                (best, since) = ((share, linear.head()), 0);
            } else {
                since += 1;
            }
            if since >= PATIENCE {
                break;
            }
        }
        Ok(best)
    }
}

/// The class with the largest score under a `head` of (classes, width); the first on a tie.
fn likeliest(head: &[f32], features: &[f32]) -> u32 {
    let scores = head.chunks_exact(features.len());
    let scores = scores.map(|weights| weights.iter().zip(features).map(|(w, x)| f64::from(w * x)).sum::<f64>());
    let best = scores.enumerate().fold((0, f64::NEG_INFINITY), |best, (i, s)| if s > best.1 { (i, s) } else { best });
    best.0 as u32
}
