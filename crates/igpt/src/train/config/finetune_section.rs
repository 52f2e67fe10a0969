//! `[finetune]` of a run's configuration: how a classifier is trained on top of a network.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::device::FinetuneObjective;
use crate::train::config::allowed::Allowed;

/// What the classifier is in the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Head {
    /// The network and the classifier on top of it, trained together.
    #[default]
    FineTuned,
    /// A linear probe: logistic regression on features of the pretrained network, which keeps its weights.
    Linear,
    /// The one of these two that is right more often on the validation images.
    Auto,
}

impl Head {
    /// All of them.
    pub const ALL: [Head; 3] = [Head::FineTuned, Head::Linear, Head::Auto];

    /// Its name in configs and flags.
    pub fn name(self) -> &'static str {
        match self {
            Head::FineTuned => "fine-tuned",
            Head::Linear => "linear",
            Head::Auto => "auto",
        }
    }
}

/// The settings of fine-tuning. Defaults are as in Chen et al. 2020, sections 2.3 and 4.5, where it states them; what is read from
/// a file or flags starts from the [recipe](crate::train::Recipe) of fine-tuning instead.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct FinetuneSettings {
    /// The pretrained model to start from; none trains from scratch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<PathBuf>,
    /// What the classifier is in the end.
    pub head: Head,
    /// Weight of the generative loss beside that of the classes; 0 trains on the classes alone, and only validations then
    /// tell a generative loss.
    pub generative_weight: f64,
    /// The layer whose features are classified, 0 to `n_layer`; the last where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_layer: Option<usize>,
    /// The first blocks that keep their weights, and the embeddings with them.
    pub frozen_blocks: usize,
    /// The classifier's learning rate over that of the network below it: the classifier begins at zero, the network may be
    /// trained already.
    pub head_lr: f64,
    /// Label smoothing of the classes' loss, 0 to below 1: the share of the target that is spread over all classes.
    pub label_smoothing: f64,
    /// Whether every class is seen equally often: images of rarer classes come several times in an epoch.
    pub balanced: bool,
    /// Train on so few images of each class, drawn by the seed as `crate::probe::few::subset` draws them. Validation
    /// keeps its labels, which choose the weights.
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
    /// What an engine wants to know of it.
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

    /// Hands over each number that is not a count by its name, and which numbers it may be.
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
