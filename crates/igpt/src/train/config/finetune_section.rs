//! `[finetune]` of a run's configuration: how a classifier is trained on top of a network.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::device::FineTuning;

/// The settings of fine-tuning; as in Chen et al. 2020, sections 2.3 and 4.5, where it states them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FineTuneSection {
    /// The pretrained model to start from; none trains from scratch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<PathBuf>,
    /// Weight of the generative loss beside that of the classes; 0 trains on the classes alone, and only validations then
    /// tell a generative loss.
    pub generative_weight: f64,
    /// The layer whose features are classified, 0 to `n_layer`; the last where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_layer: Option<usize>,
    /// The first blocks that keep their weights, and the embeddings with them.
    pub frozen_blocks: usize,
    /// Whether every class is seen equally often: images of rarer classes come several times in an epoch.
    pub balanced: bool,
    /// Train on so few images of each class, drawn by the seed as [`crate::probe::few::subset`] draws them. Validation
    /// keeps its labels, which choose the weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels_per_class: Option<usize>,
}

impl Default for FineTuneSection {
    fn default() -> Self {
        Self {
            model: None,
            generative_weight: 1.0,
            class_layer: None,
            frozen_blocks: 0,
            balanced: false,
            labels_per_class: None,
        }
    }
}

impl FineTuneSection {
    /// What an engine wants to know of it.
    pub fn engine(&self) -> FineTuning {
        FineTuning { generative_weight: self.generative_weight as f32, frozen_blocks: self.frozen_blocks }
    }

    pub(crate) fn check(&self, problems: &mut Vec<String>) {
        let weight = self.generative_weight;
        if !(weight >= 0.0 && weight.is_finite()) {
            problems.push(format!("finetune.generative_weight is {weight}, but must be at least 0"));
        }
    }
}
