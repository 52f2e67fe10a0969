//! Classification: the class of each image, and how often it is the right one.
//!
//! A model of masked pixels sees inputs masked as in its training here too; it votes over five sets of masks (Chen et al.
//! 2020, section 4.6).

use crate::data::{Batch, Masking, TokenSet};
use crate::device::{Engine, blame, expect_finite};
use crate::model::Objective;
use crate::stats::wilson;
use crate::{Error, Result};

/// Images handed to the engine at once; it cuts them further as its memory asks.
const BATCH: usize = 64;
/// Sets of masks that a model of masked pixels votes over.
pub const VOTES: u64 = 5;

/// What a classifier says of one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Classified {
    /// The likeliest class; of several votes the most frequent, of equally frequent ones the likelier.
    pub class: u32,
    /// The probability of each class, of several votes their mean.
    pub probabilities: Vec<f64>,
}

/// The share of images that were classified rightly.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Accuracy {
    /// Right ones / all.
    pub accuracy: f64,
    /// 95 % confidence interval (Wilson 1927).
    pub interval: [f64; 2],
    /// Number of images.
    pub images: usize,
}

impl Accuracy {
    /// Of `right` images out of `images`, at least one.
    pub fn of(right: usize, images: usize) -> Self {
        let accuracy = right as f64 / images as f64;
        Self { accuracy, interval: wilson(accuracy, images), images }
    }
}

/// Classifies a batch. For a model of masked pixels image `i`'s masks are those of number `first` + i.
///
/// # Errors
/// When the model has no classifier, the images are not the model's, or a score is not finite.
pub fn classify(engine: &mut dyn Engine, batch: &Batch, first: u64) -> Result<Vec<Classified>> {
    let Some(head) = engine.config().class_head else {
        return Err(Error::Missing("the model has no classifier: train one with igpt finetune".into()));
    };
    let (classes, objective, mask_prob) = (head.num_labels, engine.config().objective, engine.config().mask_prob);
    let votes = if objective == Objective::Masked { VOTES } else { 1 };
    let mut count = vec![vec![0; classes]; batch.images()];
    let mut probabilities = vec![vec![0.0; classes]; batch.images()];
    let mut logits = vec![0.0; batch.images() * classes];
    for vote in 0..votes {
        match objective {
            Objective::Autoregressive => engine.class_logits(batch, &mut logits)?,
            Objective::Masked => {
                let masked = Masking::evaluation(mask_prob, vote).mask(batch.clone(), first);
                engine.class_logits(&masked, &mut logits)?;
            }
        }
        for (i, logits) in logits.chunks_exact(classes).enumerate() {
            expect_finite(logits, "a class's score", || format!("image {}", first + i as u64))
                .map_err(|error| blame(engine, error))?;
            let softmax = softmax(logits);
            count[i][largest(&softmax, |p| *p)] += 1;
            probabilities[i].iter_mut().zip(softmax).for_each(|(mean, p)| *mean += p / votes as f64);
        }
    }
    let vote = |(probabilities, count): (Vec<f64>, Vec<u64>)| {
        let both: Vec<(u64, f64)> = count.into_iter().zip(probabilities.iter().copied()).collect();
        Classified { class: largest(&both, |both| *both) as u32, probabilities }
    };
    Ok(probabilities.into_iter().zip(count).map(vote).collect())
}

/// The share of `set`'s labelled images that are classified rightly. `progress` is told how many images are done.
///
/// # Errors
/// When no image has a label, and as [`classify`].
pub fn accuracy(engine: &mut dyn Engine, set: &TokenSet, progress: &mut dyn FnMut(usize)) -> Result<Accuracy> {
    let (mut right, mut labelled) = (0, 0);
    for start in (0..set.images()).step_by(BATCH) {
        let end = (start + BATCH).min(set.images());
        let found = classify(engine, &set.batch(start..end), start as u64)?;
        for (found, label) in found.iter().zip(&set.labels[start..end]) {
            labelled += usize::from(label.is_some());
            right += usize::from(*label == Some(found.class));
        }
        progress(end);
    }
    match labelled {
        0 => Err(Error::Missing("no image has a label: give a data set with classes".into())),
        _ => Ok(Accuracy::of(right, labelled)),
    }
}

fn softmax(logits: &[f32]) -> Vec<f64> {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max) as f64;
    let exp: Vec<f64> = logits.iter().map(|&logit| (logit as f64 - top).exp()).collect();
    let sum: f64 = exp.iter().sum();
    exp.into_iter().map(|x| x / sum).collect()
}

/// The place of the largest value, the first of equal ones.
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

    #[test]
    fn the_interval_is_wilsons() {
        // statsmodels.stats.proportion.proportion_confint(count, nobs, method="wilson").
        for (right, images, low, high) in
            [(90, 100, 0.825_634_337, 0.944_770_833), (0, 20, 0.0, 0.161_125_158), (7, 7, 0.645_661_157, 1.0)]
        {
            let [a, b] = Accuracy::of(right, images).interval;
            assert!((a - low).abs() < 1e-4 && (b - high).abs() < 1e-4, "{right}/{images}: {a} {b}");
        }
    }

    fn model(objective: Objective, mask_prob: f64) -> Box<dyn Engine> {
        let class_head = Some(ClassHead { num_labels: 3, layer: 1 });
        let config = ModelConfig::new(ImageSize::square(8), 7, 16, 1, 2);
        let config = ModelConfig { objective, mask_prob, class_head, ..config };
        device::open(&config, &random_weights(&config), &device::Options::new(Precision::F32)).unwrap()
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
            let unmasked = softmax(&logits[..3]);
            assert_eq!(unmasked == all[0].probabilities, objective == Objective::Autoregressive);
            // The share of masked positions is the model's own.
            let others = classify(&mut *model(objective, 0.25), &batch, 3).unwrap();
            assert_eq!(others == all, objective == Objective::Autoregressive);
        }
    }
}
