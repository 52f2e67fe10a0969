//! Classification of images, and its accuracy.
//!
//! A masked model sees inputs masked as in training here, too. It votes over five sets of masks (Chen et al. 2020,
//! section 4.6).

use crate::data::{Batch, Masking, TokenSet};
use crate::device::{Engine, expect_finite, name_suspect_weight};
use crate::evaluate::calibration::{best_temperature, expected_calibration_error};
use crate::model::Objective;
use crate::stats::wilson;
use crate::{Error, Result};

/// Number of images per call of the engine, which splits them further as its memory requires.
const BATCH: usize = 64;
/// Number of sets of masks that a masked model votes over.
pub const VOTES: u64 = 5;

/// Classification of one image: the class and all classes' probabilities.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Classification {
    /// Predicted class: the likeliest one.
    ///
    /// With several votes, it is the most frequent class, and of equally frequent ones the likelier.
    pub class: u32,
    /// Probability of each class, averaged over the votes.
    pub probabilities: Vec<f64>,
}

/// Accuracy of a classifier on labelled images, with likelihood and calibration.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
#[non_exhaustive]
pub struct Accuracy {
    /// Fraction of images that are classified correctly.
    pub accuracy: f64,
    /// 95 % confidence interval of the accuracy (Wilson 1927).
    pub interval: [f64; 2],
    /// Number of images.
    pub images: usize,
    /// Mean negative log-likelihood of the labels, in nats.
    pub nats: f64,
    /// [Expected calibration error](expected_calibration_error) of the predicted classes' probabilities.
    pub calibration_error: f64,
}

/// Classifies the images of a batch.
///
/// For a masked model, image `i`'s masks are those of number `first` + i.
///
/// # Errors
/// When the model has no classifier, the images do not fit the model, or a score is not finite.
pub fn classify(engine: &mut dyn Engine, batch: &Batch, first: u64) -> Result<Vec<Classification>> {
    let scores = scores_of(engine, batch, first)?;
    Ok((0..batch.images()).map(|image| scores.classified(image, 1.0)).collect())
}

/// Measures the accuracy on `set`'s labelled images; `progress` receives the number of images done.
///
/// # Errors
/// When no image has a label, and as [`classify`].
pub fn accuracy(engine: &mut dyn Engine, set: &TokenSet, progress: &mut dyn FnMut(usize)) -> Result<Accuracy> {
    Ok(class_logits(engine, set, progress)?.accuracy(1.0))
}

/// Returns the logits of the classes of `set`'s labelled images; `progress` receives the number of images done.
///
/// # Errors
/// As [`accuracy`].
pub fn class_logits(engine: &mut dyn Engine, set: &TokenSet, progress: &mut dyn FnMut(usize)) -> Result<ClassLogits> {
    let mut all: Option<ClassLogits> = None;
    for start in (0..set.images()).step_by(BATCH) {
        let end = (start + BATCH).min(set.images());
        let mut found = scores_of(engine, &set.batch(start..end), start as u64)?;
        found.keep_labelled(&set.labels[start..end]);
        match &mut all {
            None => all = Some(found),
            Some(all) => {
                all.logits.extend(found.logits);
                all.labels.extend(found.labels);
            }
        }
        progress(end);
    }
    all.filter(|all| !all.labels.is_empty())
        .ok_or_else(|| Error::Invalid("no image has a label: give a data set with classes".into()))
}

/// Logits of the classes and labels of some images, with all votes of a masked model.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassLogits {
    classes: usize,
    votes: usize,
    /// Logits, (images, votes, classes).
    logits: Vec<f32>,
    labels: Vec<u32>,
}

impl ClassLogits {
    /// Returns the accuracy with all logits divided by `temperature`.
    pub fn accuracy(&self, temperature: f64) -> Accuracy {
        let found: Vec<_> = (0..self.labels.len()).map(|image| self.classified(image, temperature)).collect();
        let is_right = |image: usize| found[image].class == self.labels[image];
        let images = found.len();
        let accuracy = (0..images).filter(|&image| is_right(image)).count() as f64 / images as f64;
        let confidence = |image: usize| found[image].probabilities[found[image].class as usize];
        Accuracy {
            accuracy,
            interval: wilson(accuracy, images),
            images,
            nats: self.nats(temperature) / images as f64,
            calibration_error: expected_calibration_error((0..images).map(|i| (confidence(i), is_right(i)))),
        }
    }

    /// Returns the temperature that makes the labels likeliest when it divides the logits ([`best_temperature`]).
    pub fn temperature(&self) -> f64 {
        best_temperature(|temperature| self.nats(temperature))
    }

    /// Negative log-likelihood of all labels.
    fn nats(&self, temperature: f64) -> f64 {
        let of = |(image, label): (usize, &u32)| {
            let mean = self.votes(image).map(|logits| softmax(logits, temperature)[*label as usize]).sum::<f64>();
            -(mean / self.votes as f64).max(f64::MIN_POSITIVE).ln()
        };
        self.labels.iter().enumerate().map(of).sum()
    }

    fn classified(&self, image: usize, temperature: f64) -> Classification {
        let mut count = vec![0; self.classes];
        let mut probabilities = vec![0.0; self.classes];
        for logits in self.votes(image) {
            let softmax = softmax(logits, temperature);
            count[largest(&softmax, |p| *p)] += 1;
            probabilities.iter_mut().zip(softmax).for_each(|(mean, p)| *mean += p / self.votes as f64);
        }
        let both: Vec<(u64, f64)> = count.into_iter().zip(probabilities.iter().copied()).collect();
        Classification { class: largest(&both, |both| *both) as u32, probabilities }
    }

    fn votes(&self, image: usize) -> impl Iterator<Item = &[f32]> {
        let len = self.votes * self.classes;
        self.logits[image * len..][..len].chunks_exact(self.classes)
    }

    /// Removes images without a label.
    fn keep_labelled(&mut self, labels: &[Option<u32>]) {
        let images = self.logits.chunks_exact(self.votes * self.classes).zip(labels);
        let kept: Vec<f32> = images.filter(|(_, label)| label.is_some()).flat_map(|(l, _)| l.to_vec()).collect();
        (self.logits, self.labels) = (kept, labels.iter().flatten().copied().collect());
    }
}

/// Returns the logits of a batch's classes, without labels.
fn scores_of(engine: &mut dyn Engine, batch: &Batch, first: u64) -> Result<ClassLogits> {
    let Some(head) = engine.config().class_head else {
        return Err(Error::Missing("the model has no classifier: train one with igpt finetune".into()));
    };
    let (classes, objective, mask_prob) = (head.num_labels, engine.config().objective, engine.config().mask_prob);
    let votes = if objective == Objective::Masked { VOTES as usize } else { 1 };
    let images = batch.images();
    let mut all = vec![0.0; images * votes * classes];
    let mut logits = vec![0.0; images * classes];
    for vote in 0..votes {
        match objective {
            Objective::Autoregressive => engine.class_logits(batch, &mut logits)?,
            Objective::Masked => {
                let masked = Masking::evaluation(mask_prob, vote as u64).mask(batch.clone(), first);
                engine.class_logits(&masked, &mut logits)?;
            }
        }
        for (i, logits) in logits.chunks_exact(classes).enumerate() {
            expect_finite(logits, "a class's score", || format!("image {}", first + i as u64))
                .map_err(|error| name_suspect_weight(engine, error))?;
            all[(i * votes + vote) * classes..][..classes].copy_from_slice(logits);
        }
    }
    Ok(ClassLogits { classes, votes, logits: all, labels: Vec::new() })
}

fn softmax(logits: &[f32], temperature: f64) -> Vec<f64> {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max) as f64;
    let exp: Vec<f64> = logits.iter().map(|&logit| ((logit as f64 - top) / temperature).exp()).collect();
    let sum: f64 = exp.iter().sum();
    exp.into_iter().map(|x| x / sum).collect()
}

/// Index of the largest value, the first on a tie.
fn largest<T, K: PartialOrd>(values: &[T], key: impl Fn(&T) -> K) -> usize {
    (1..values.len()).fold(0, |best, i| if key(&values[i]) > key(&values[best]) { i } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{self, Precision};
    use crate::image::ImageSize;
    use crate::model::{ClassHead, ModelConfig};
    use crate::testing::random_weights;

    /// Scores of images of two classes, of which the first `right` are of the class that they are said to be, by so large
    /// a logit.
    fn sure_by(logit: f32, right: usize, images: usize) -> ClassLogits {
        let labels = (0..images).map(|image| u32::from(image >= right)).collect();
        ClassLogits { classes: 2, votes: 1, logits: [logit, 0.0].repeat(images), labels }
    }

    #[test]
    fn the_interval_is_wilsons() {
        // statsmodels.stats.proportion.proportion_confint(count, nobs, method="wilson").
        for (right, images, low, high) in
            [(90, 100, 0.825_634_337, 0.944_770_833), (0, 20, 0.0, 0.161_125_158), (7, 7, 0.645_661_157, 1.0)]
        {
            let [a, b] = sure_by(1.0, right, images).accuracy(1.0).interval;
            assert!((a - low).abs() < 1e-4 && (b - high).abs() < 1e-4, "{right}/{images}: {a} {b}");
        }
    }

    #[test]
    fn the_temperature_makes_a_classifier_as_sure_as_it_is_right_and_changes_no_class() {
        let scores = sure_by(6.0, 800, 1000);
        let (before, temperature) = (scores.accuracy(1.0), scores.temperature());
        let after = scores.accuracy(temperature);
        assert!((6.0 / temperature - 4f64.ln()).abs() < 1e-2, "{temperature}");
        assert_eq!((after.accuracy, after.interval), (before.accuracy, before.interval));
        assert!(before.calibration_error > 0.19 && after.calibration_error < 2e-3, "{before:?} {after:?}");
        assert!(after.nats < before.nats && (after.nats - 0.5004).abs() < 1e-3, "{after:?}");
    }

    fn model(objective: Objective, mask_prob: f64) -> Box<dyn Engine> {
        let class_head = Some(ClassHead { num_labels: 3, layer: 1 });
        let config = ModelConfig::new(ImageSize::square(8), 7, 16, 1, 2);
        let config = ModelConfig { objective, mask_prob, class_head, ..config };
        device::open(&config, &random_weights(&config), &device::EngineOptions::new(Precision::F32)).unwrap()
    }

    #[test]
    fn masked_models_vote_and_others_say_once() {
        let batch = Batch::new((0..6 * 64).map(|i| (i * i % 7) as u16).collect(), 64);
        for objective in [Objective::Autoregressive, Objective::Masked] {
            let mut engine = model(objective, 0.5);
            let all = classify(&mut *engine, &batch, 3).unwrap();
            for (i, found) in all.iter().enumerate() {
                assert!((found.probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-9);
                // Whatever stands beside it, an image is classified alike.
                let alone = classify(&mut *engine, &batch.slice(i..i + 1), 3 + i as u64).unwrap();
                assert_eq!(alone[0], *found);
            }
            let mut logits = vec![0.0; 6 * 3];
            engine.class_logits(&batch, &mut logits).unwrap();
            let unmasked = softmax(&logits[..3], 1.0);
            assert_eq!(unmasked == all[0].probabilities, objective == Objective::Autoregressive);
            // The share of masked positions is the model's own.
            let others = classify(&mut *model(objective, 0.25), &batch, 3).unwrap();
            assert_eq!(others == all, objective == Objective::Autoregressive);
        }
    }
}
