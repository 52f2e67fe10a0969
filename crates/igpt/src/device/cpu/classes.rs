//! The classifier: from pooled features to logits of classes, their losses, and the gradient back to the features.
//!
//! Its matrix is small beside everything else, so plain loops over f32 master weights suffice. Sums go image by
//! image, in order.

use super::dims::Dims;
use super::model::Model;
use crate::data::Batch;
use crate::device::LossSum;
use crate::{Error, Result};
use igpt_kernels::Scalar;

/// Data about some images' classes that the backward pass needs.
#[derive(Debug)]
pub(crate) struct ClassGradient {
    /// Layer that the classifier reads.
    pub(crate) layer: usize,
    /// Pooled features of that layer, (images, C real).
    pub(crate) pooled: Vec<f32>,
    /// Gradient of the logits, (images, classes).
    pub(crate) dlogits: Vec<f32>,
}

/// Computes the logits (images, classes) of pooled features (images, C real).
pub(crate) fn logits<S: Scalar>(model: &Model<S>, pooled: &[f32], out: &mut [f32]) {
    let Some((classes, score)) = score(model) else { return };
    let Dims { channels, n_embd, .. } = model.dims;
    for (features, out) in pooled.chunks_exact(n_embd).zip(out.chunks_exact_mut(classes)) {
        for (logit, row) in out.iter_mut().zip(score.chunks_exact(channels)) {
            *logit = row.iter().zip(features).map(|(w, f)| *w as f64 * *f as f64).sum::<f64>() as f32;
        }
    }
}

/// Settings of training on classes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClassTraining {
    /// Factor of the gradient.
    pub(crate) scale: f32,
    /// Label smoothing: the share of the target that is spread over all classes.
    pub(crate) smoothing: f32,
}

/// Adds the losses of images with these `labels` to `sum`. With `training`, the losses are those of smoothed labels,
/// and the gradient of the logits (images, classes) is returned; otherwise the result is empty.
pub(crate) fn losses(
    logits: &[f32],
    classes: usize,
    labels: &[u32],
    training: Option<ClassTraining>,
    sum: &mut LossSum,
) -> Vec<f32> {
    let mut dlogits = Vec::new();
    let smoothing = training.map_or(0.0, |training| training.smoothing as f64);
    let (kept, spread) = (1.0 - smoothing, smoothing / classes as f64);
    for (logits, &label) in logits.chunks_exact(classes).zip(labels) {
        let likeliest = (0..classes).fold(0, |best, class| if logits[class] > logits[best] { class } else { best });
        let top = logits[likeliest] as f64;
        let total: f64 = logits.iter().map(|&logit| (logit as f64 - top).exp()).sum();
        let all = if smoothing > 0.0 { logits.iter().map(|&logit| logit as f64 - top).sum() } else { 0.0 };
        sum.class_nats.push(total.ln() - (kept * (logits[label as usize] as f64 - top) + spread * all));
        sum.predicted.push(likeliest as u32);
        if let Some(ClassTraining { scale, .. }) = training {
            dlogits.extend(logits.iter().enumerate().map(|(class, &logit)| {
                let target = spread + if class == label as usize { kept } else { 0.0 };
                (scale as f64 * ((logit as f64 - top).exp() / total - target)) as f32
            }));
        }
    }
    dlogits
}

/// Returns the labels of a batch, if the model has a classifier for them.
///
/// # Errors
/// When a label is not a class of the classifier.
pub(crate) fn labels<'a, S: Scalar>(model: &Model<S>, batch: &'a Batch) -> Result<Option<&'a [u32]>> {
    let Some((head, labels)) = model.config.class_head.zip(batch.labels()) else { return Ok(None) };
    match labels.iter().find(|label| **label as usize >= head.num_labels) {
        Some(label) => {
            Err(Error::Mismatch(format!("class {label} was given to a classifier of {} classes", head.num_labels)))
        }
        None => Ok(Some(labels)),
    }
}

/// Number of classes and the classifier's matrix, whose rows have padded channels.
fn score<S: Scalar>(model: &Model<S>) -> Option<(usize, &[f32])> {
    let (head, place) = model.config.class_head.zip(model.places.score.as_ref())?;
    Some((head.num_labels, model.vector(place)))
}

impl ClassGradient {
    /// Adds the gradient of the classifier's matrix to `grads`, the flat gradient. Returns the gradient of each
    /// position's norm, which is the same at all positions of an image: (images, C padded).
    pub(crate) fn backward<S: Scalar>(&self, model: &Model<S>, positions: usize, grads: &mut [f32]) -> Vec<f32> {
        let Dims { channels, n_embd, .. } = model.dims;
        let (Some((classes, score)), Some(place)) = (score(model), model.places.score.clone()) else {
            return Vec::new();
        };
        let dscore = &mut grads[place];
        let images = self.dlogits.len() / classes;
        let mut dnorm = vec![0.0; images * channels];
        let parts = self.pooled.chunks_exact(n_embd).zip(self.dlogits.chunks_exact(classes));
        for ((features, dlogits), dnorm) in parts.zip(dnorm.chunks_exact_mut(channels)) {
            for (class, &d) in dlogits.iter().enumerate() {
                let row = class * channels..class * channels + n_embd;
                dscore[row.clone()].iter_mut().zip(features).for_each(|(sum, f)| *sum += d * f);
                dnorm.iter_mut().zip(&score[row]).for_each(|(sum, w)| *sum += d * w);
            }
            dnorm.iter_mut().for_each(|value| *value /= positions as f32);
        }
        dnorm
    }
}
