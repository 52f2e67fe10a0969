//! What fine-tuning came to, for programs and for readers of the model's card.

use std::path::PathBuf;

use serde::Serialize;

use crate::evaluate::{Accuracy, CALIBRATION_BINS};
use crate::model::{ModelCard, Objective};
use crate::train::config::RunConfig;
use crate::train::config::finetune_section::Head;
use crate::train::trainer::ema;
use crate::train::trainer::steps::LoopOutcome;

/// What fine-tuning came to.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct FinetuneSummary {
    /// Share of the test images that the best weights classify rightly; none when stopped from outside.
    pub test_accuracy: Option<f64>,
    /// Its 95 % confidence interval (Wilson).
    pub interval: Option<[f64; 2]>,
    /// Test images.
    pub test_images: Option<usize>,
    /// Which of the two the classifier is: the fine-tuned network, or a linear probe.
    pub head: Head,
    /// The layer whose features it reads.
    pub class_layer: usize,
    /// Its accuracy on the validation images, by which the weights were chosen.
    pub validation_accuracy: Option<f64>,
    /// The highest there of the fine-tuned network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fine_tuned_accuracy: Option<f64>,
    /// The highest there of a linear probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linear_accuracy: Option<f64>,
    /// Validation images.
    pub validation_images: usize,
    /// Steps taken when it was highest.
    pub best_step: Option<u64>,
    /// Optimiser steps taken.
    pub steps: u64,
    /// Whether it was stopped from outside before its end.
    pub stopped: bool,
    /// Generative loss on the validation images at the last validation, nats per token.
    pub validation_loss: Option<f64>,
    /// Loss of the classes there, nats per label.
    pub validation_class_loss: Option<f64>,
    /// How far the probabilities of the likeliest classes are from how often these are right, on the test images: the
    /// [expected calibration error](crate::evaluate::expected_calibration_error).
    pub calibration_error: Option<f64>,
    /// The same before the logits were divided by the temperature.
    pub uncalibrated_error: Option<f64>,
    /// The temperature, chosen on the validation images, that the classifier's matrix has been divided by: so whatever
    /// program opens the model has calibrated probabilities. None where there were no validation images.
    pub temperature: Option<f64>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Weight of the generative loss.
    pub generative_weight: f64,
    /// Seconds of training, of earlier sessions too.
    pub seconds: f64,
    /// Trainable parameters.
    pub parameters: usize,
    /// The run directory.
    pub run: PathBuf,
    /// The model directory in it.
    pub model: PathBuf,
}

/// The model's card.
pub(in crate::train) fn card(
    config: &RunConfig,
    outcome: &LoopOutcome,
    result: &FinetuneSummary,
    tested: Option<Accuracy>,
) -> ModelCard {
    let train = &config.train;
    let origin = match config.finetune.as_ref().and_then(|finetune| finetune.model.as_ref()) {
        Some(model) => format!("Fine-tuned from `{}`", ModelCard::data_name(&model.display().to_string())),
        None => "Trained from scratch".into(),
    };
    let mut lines = Vec::new();
    let data = ModelCard::data_name(&config.data.spec);
    lines.push(match result.head {
        Head::Linear => format!(
            "{origin} with igpt: a linear probe of layer {} (logistic regression on the features of the train split of \
             `{data}`), seed {}; all other weights are as they were.",
            result.class_layer, train.seed
        ),
        _ => format!(
            "{origin} with igpt on the train split of `{data}`: {} steps of {} images, learning rate {}, generative weight {}, \
             seed {}; the weights are those after step {}.{}",
            outcome.step,
            train.batch,
            train.peak_lr(),
            result.generative_weight,
            train.seed,
            result.best_step.unwrap_or(outcome.step),
            ema::card(train.ema)
        ),
    });
    if let Some(share) = train.mask_prob.filter(|_| train.objective == Objective::Masked) {
        lines.push(format!(
            "It was trained on and reads inputs of which a share of {share} is masked, and votes over five sets of masks.",
        ));
    }
    if let Some(temperature) = result.temperature {
        lines.push(format!(
            "The probabilities of the classes are calibrated: the matrix of the classifier was divided by {temperature:.3}, the \
             temperature at which the labels of the validation images are likeliest.",
        ));
    }
    let mut figures = Vec::new();
    if let Some(Accuracy { accuracy, interval: [low, high], images, calibration_error, .. }) = tested {
        let percent = [accuracy, low, high].map(|share| format!("{:.2} %", 100.0 * share));
        let [accuracy, low, high] = percent;
        figures.push((
            format!("accuracy on the {images} test images"),
            format!("{accuracy}, 95 % interval {low} to {high}"),
        ));
        figures.push((
            format!("expected calibration error there ({CALIBRATION_BINS} bins)"),
            format!("{:.2} %", 100.0 * calibration_error),
        ));
    }
    if let Some(accuracy) = result.validation_accuracy {
        let images = result.validation_images;
        figures.push((format!("accuracy on {images} validation images"), format!("{:.2} %", 100.0 * accuracy)));
    }
    ModelCard { lines, figures }
}
