//! `[finetune]` of a run's configuration: how a classifier is trained on top of a network.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::device::FineTuning;
use crate::train::plan::planner::Planner;

/// Validations in a run where their interval is not said: the weights of the best are kept, and training ends by them.
const VALIDATIONS: u64 = 20;
/// How much longer training between two validations lasts than a validation, at least.
const TRAINING_TO_VALIDATION: usize = 5;
/// How much longer an image takes in training, forward and backward, than in a validation.
const STEP_TO_FORWARD: usize = 3;

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
    /// Validations in a row without a better accuracy after which training ends; 0 goes on to the end of the budget.
    pub patience: u64,
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
            patience: 10,
        }
    }
}

impl FineTuneSection {
    /// What an engine wants to know of it.
    pub fn engine(&self) -> FineTuning {
        FineTuning { generative_weight: self.generative_weight as f32, frozen_blocks: self.frozen_blocks }
    }

    /// The planner of pretraining with validations as a classifier wants them: more, but so that `images` of them take at
    /// most a sixth of the time of a run in steps of `batch`. Counted and not measured, since they must come at the same
    /// steps again.
    pub(crate) fn plan(planner: Planner, images: usize, batch: usize) -> Planner {
        let fewest = (TRAINING_TO_VALIDATION * images).div_ceil(STEP_TO_FORWARD * batch);
        planner.validating(VALIDATIONS, fewest as u64)
    }

    pub(crate) fn check(&self, problems: &mut Vec<String>) {
        let weight = self.generative_weight;
        if !(weight >= 0.0 && weight.is_finite()) {
            problems.push(format!("finetune.generative_weight is {weight}, but must be at least 0"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::config::TrainSection;

    #[test]
    fn a_classifier_is_validated_twenty_times_unless_that_takes_more_than_a_sixth_of_the_time() {
        let validated = |steps: u64, eval_every: Option<u64>, images: usize| {
            let train = TrainSection { steps: Some(steps), batch: 4, eval_every, ..TrainSection::default() };
            let planner = FineTuneSection::plan(Planner::new(&train, 1000, &[]), images, train.batch);
            (1..=steps).filter(|step| planner.validates(*step)).collect::<Vec<_>>()
        };
        let often = validated(10_000, None, 1024);
        assert_eq!((often.len(), often[0]), (20, 500));
        // 4 · 427 images of training cost as much as five times 1024 forward.
        assert_eq!(validated(1000, None, 1024), [427, 854, 1000]);
        assert_eq!(validated(100, None, 1024), [100]);
        assert_eq!(validated(100, Some(30), 1024), [30, 60, 90, 100]);
        // As in pretraining never more than 1000 steps apart.
        assert_eq!(validated(50_000, None, 16).len(), 50);
    }
}
