//! Linear probe as a classifier on top of a network with frozen weights (Chen et al. 2020, section 3.4).
//!
//! It is a logistic regression on the features of one layer. The model's classifier has no intercepts, so that
//! transformers can open it. The regression therefore has none either. With few labels, images without labels help in
//! two ways: features are whitened by them, and their likeliest classes become labels (self-training: Yarowsky 1995).
//! Accuracy on the validation images decides whether either is used.

use crate::data::Images;
use crate::device::Engine;
use crate::model::{ModelConfig, ParamLayout};
use crate::palette::Quantizer;
use crate::probe::labelled::{LabelledSplit, collect};
use crate::probe::solver::STRENGTHS;
use crate::probe::{LabelledFeatures, LogisticRegression, Standardizer, Whitening, Workers, accuracy};
use crate::ranks::Collective;
use crate::{Error, Result};

/// Largest number of feature values in memory, over all layers: a gigabyte.
const VALUES: usize = 1 << 28;
/// Number of labels below which images without labels are used, and the number of these.
const FEW: usize = 4096;
/// Shrinkage of whitening: added to the variances of features, which are 1.
const SHRINKAGE: f64 = 0.3;
/// Rounds of self-training.
const ROUNDS: usize = 3;
/// Number of weaker strengths without improvement after which the search stops.
const PATIENCE: usize = 2;

/// Linear classifier on the features of one layer.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::train) struct LinearHead {
    /// Layer whose features are read, 0 to `n_layer`.
    pub(in crate::train) layer: usize,
    /// Weights of the features, (classes, n_embd).
    pub(in crate::train) weights: Vec<f32>,
    /// Accuracy on the validation images, by which this head was chosen.
    pub(in crate::train) accuracy: f64,
}

impl LinearHead {
    /// Puts this head on top of the `weights` of `network`.
    pub(in crate::train) fn on(&self, network: &ModelConfig, mut weights: Vec<f32>) -> Vec<f32> {
        if let Some(score) = ParamLayout::new(network).tensor("score.weight") {
            weights[score.range()].copy_from_slice(&self.weights);
        }
        weights
    }
}

/// Images that a linear head is fitted to and chosen by.
pub(in crate::train) struct LinearProbeInputs<'a> {
    /// Labelled images to fit to; few or many.
    pub(in crate::train) labelled: &'a Images,
    /// All training images. Their labels are not used.
    pub(in crate::train) all: &'a Images,
    /// Images that choose the head.
    pub(in crate::train) validation: &'a Images,
    pub(in crate::train) quantizer: &'a Quantizer,
    pub(in crate::train) classes: usize,
}

impl LinearProbeInputs<'_> {
    /// Fits classifiers to each layer of the network of `engine` and returns the best.
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
            // The labelled images together count half as much as those with predicted labels.
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

/// Features of one layer with their classes.
struct View<'a> {
    workers: &'a Workers,
    width: usize,
    classes: usize,
    train: (&'a [f32], &'a [u32]),
    validation: (&'a [f32], &'a [u32]),
    /// Features that determine the scaling.
    scale: &'a [f32],
}

impl View<'_> {
    /// Highest accuracy on the validation images over all strengths, and its weights, (classes, width).
    fn best(&self) -> Result<(f64, Vec<f32>)> {
        self.of_scaled(&Standardizer::without_intercept(self.scale, self.width), self.train.0, self.validation.0)
    }

    /// Like [`View::best`] on whitened features; the returned weights apply to unwhitened features.
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

/// Class with the largest score under a `head` of (classes, width); the first on a tie.
fn likeliest(head: &[f32], features: &[f32]) -> u32 {
    let scores = head.chunks_exact(features.len());
    let scores = scores.map(|weights| weights.iter().zip(features).map(|(w, x)| f64::from(w * x)).sum::<f64>());
    let best = scores.enumerate().fold((0, f64::NEG_INFINITY), |best, (i, s)| if s > best.1 { (i, s) } else { best });
    best.0 as u32
}
