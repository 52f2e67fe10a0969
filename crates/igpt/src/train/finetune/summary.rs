//! Summary of a fine-tuning run, for programs and for the model's card.

use std::path::PathBuf;

use serde::Serialize;

use crate::evaluate::{Accuracy, CALIBRATION_BINS};
use crate::model::{ModelCard, Objective};
use crate::train::config::RunConfig;
use crate::train::config::finetune_section::Head;
use crate::train::trainer::ema;
use crate::train::trainer::steps::TrainOutcome;

/// Results of a fine-tuning run: accuracies, losses, calibration and paths.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct FinetuneSummary {
    /// Accuracy of the best weights on the test images; `None` without any, and if the run was stopped from outside.
    pub test_accuracy: Option<f64>,
    /// 95 % confidence interval (Wilson) of `test_accuracy`.
    pub interval: Option<[f64; 2]>,
    /// Number of test images.
    pub test_images: Option<usize>,
    /// Kind of the classifier: fine-tuned network or linear probe.
    pub head: Head,
    /// Layer whose features the classifier reads.
    pub class_layer: usize,
    /// Accuracy of the classifier on the validation images, by which its weights were chosen.
    pub validation_accuracy: Option<f64>,
    /// Highest validation accuracy of the fine-tuned network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fine_tuned_accuracy: Option<f64>,
    /// Highest validation accuracy of a linear probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linear_accuracy: Option<f64>,
    /// Number of validation images.
    pub validation_images: usize,
    /// Step with the highest validation accuracy.
    pub best_step: Option<u64>,
    /// Optimizer steps taken.
    pub steps: u64,
    /// Whether the run was stopped from outside before its end.
    pub stopped: bool,
    /// Generative loss on the validation images at the last validation, in nats per token.
    pub validation_loss: Option<f64>,
    /// Classification loss on the validation images at the last validation, in nats per label.
    pub validation_class_loss: Option<f64>,
    /// [Expected calibration error](crate::evaluate::expected_calibration_error) on the test images.
    ///
    /// It compares the probabilities of the likeliest classes with how often these classes are right.
    pub calibration_error: Option<f64>,
    /// Expected calibration error on the test images before the logits were divided by `temperature`.
    pub uncalibrated_error: Option<f64>,
    /// Temperature of the calibration, chosen on the validation images; `None` without validation images.
    ///
    /// The classifier's matrix is already divided by it, so that any program that opens the model gets calibrated
    /// probabilities.
    pub temperature: Option<f64>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Weight of the generative loss in the total loss.
    pub generative_weight: f64,
    /// Seconds of training, including earlier sessions.
    pub seconds: f64,
    /// Number of trainable parameters.
    pub parameters: usize,
    /// Path of the run directory.
    #[serde(rename = "run")]
    pub run_dir: PathBuf,
    /// Path of the model directory in the run directory.
    #[serde(rename = "model")]
    pub model_dir: PathBuf,
}

/// Model card of the fine-tuned model.
pub(in crate::train) fn card(
    config: &RunConfig,
    outcome: &TrainOutcome,
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
