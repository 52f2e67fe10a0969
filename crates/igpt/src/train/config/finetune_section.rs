//! Section `[finetune]` of a run's configuration: how a classifier is trained on top of a network.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::device::FinetuneObjective;
use crate::train::config::allowed::Allowed;

/// Kind of classifier that fine-tuning returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Head {
    /// A network and the classifier on top of it, trained together.
    #[default]
    FineTuned,
    /// A linear probe: logistic regression on features of the pretrained network, whose weights stay unchanged.
    Linear,
    /// The better of `FineTuned` and `Linear`, by accuracy on the validation images.
    Auto,
}

impl Head {
    /// All kinds of classifier.
    pub const ALL: [Head; 3] = [Head::FineTuned, Head::Linear, Head::Auto];

    /// Returns the name of this kind in configs and flags.
    pub fn name(self) -> &'static str {
        match self {
            Head::FineTuned => "fine-tuned",
            Head::Linear => "linear",
            Head::Auto => "auto",
        }
    }
}

/// Settings of fine-tuning: section `[finetune]` of a run's configuration.
///
/// The defaults follow Chen et al. 2020, sections 2.3 and 4.5, where the paper states them. Configs read from a file or
/// flags start from the [recipe](crate::train::Recipe)'s settings of fine-tuning instead.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct FinetuneSettings {
    /// Path of the pretrained model to start from; `None` trains from scratch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<PathBuf>,
    /// Kind of classifier to return.
    pub head: Head,
    /// Weight of the generative loss in the total loss, beside the classification loss.
    ///
    /// 0 trains on the classification loss alone; then only validations report a generative loss.
    pub generative_weight: f64,
    /// Layer whose features are classified, 0 to `n_layer`; the last by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_layer: Option<usize>,
    /// Number of first blocks whose weights are frozen, and the embeddings with them.
    pub frozen_blocks: usize,
    /// Ratio of the classifier's learning rate to that of the network below it.
    ///
    /// The classifier starts from zero, while the network may be pretrained.
    pub head_lr: f64,
    /// Label smoothing of the classification loss, 0 to below 1: the share of the target that is spread over all
    /// classes.
    pub label_smoothing: f64,
    /// Whether classes are balanced, so that all are seen equally often.
    ///
    /// Images of rarer classes are repeated in an epoch.
    pub balanced: bool,
    /// Number of labelled training images per class, drawn by the seed as few-label probes draw them; all by default.
    ///
    /// The validation images keep all their labels, which choose the weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels_per_class: Option<usize>,
}

impl Default for FinetuneSettings {
    fn default() -> Self {
        Self {
            model: None,
            head: Head::FineTuned,
            generative_weight: 1.0,
            class_layer: None,
            frozen_blocks: 0,
            head_lr: 1.0,
            label_smoothing: 0.0,
            balanced: false,
            labels_per_class: None,
        }
    }
}

impl FinetuneSettings {
    /// Objective of fine-tuning, as an engine takes it.
    pub fn engine(&self) -> FinetuneObjective {
        FinetuneObjective {
            generative_weight: self.generative_weight as f32,
            frozen_blocks: self.frozen_blocks,
            label_smoothing: self.label_smoothing as f32,
        }
    }

    pub(crate) fn check(&self, problems: &mut Vec<String>) {
        self.each_number(|name, value, allowed| {
            if !allowed.has(value) {
                problems.push(format!("finetune.{name} is {value}, but must be {}", allowed.words()));
            }
        });
    }

    /// Passes every number that is not a count to `number`, with its key and its allowed range.
    pub(super) fn each_number(&self, mut number: impl FnMut(&'static str, f64, Allowed)) {
        for (name, value, allowed) in [
            ("generative_weight", self.generative_weight, Allowed::NotNegative),
            ("head_lr", self.head_lr, Allowed::Positive),
            ("label_smoothing", self.label_smoothing, Allowed::BelowOne),
        ] {
            number(name, value, allowed);
        }
    }
}
