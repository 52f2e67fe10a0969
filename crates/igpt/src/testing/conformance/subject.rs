//! The backend under test, and helpers that the claims share.

use super::Budget;
use crate::device::{
    AdamUpdate, Backend, Engine, EngineOptions, EngineState, HiddenUpdate, MuonUpdate, Precision, TrainEngine,
    TrainOptions, Update,
};
use crate::model::{LrMultipliers, ModelConfig, ParamLayout, ParamTensor};

/// Backend under test, with what is expected of it.
pub struct Subject<'a> {
    /// Backend that opens the engines.
    pub backend: &'a dyn Backend,
    /// Tolerances of the claims.
    pub budget: Budget,
    /// Whether the backend's decoders have 8-bit weights.
    pub int8: bool,
}

/// Claim about a backend: a function that panics with a message if the subject does not fulfil it.
pub type Claim = fn(&Subject<'_>);

impl<'a> Subject<'a> {
    /// Returns a subject that is expected to be as exact as the CPU backend and to have all its features.
    pub fn new(backend: &'a dyn Backend) -> Self {
        Self { backend, budget: Budget::default(), int8: true }
    }

    pub(super) fn options(&self, precision: Precision) -> EngineOptions {
        EngineOptions { threads: 2, ..EngineOptions::new(precision) }
    }

    pub(super) fn training(&self, precision: Precision) -> TrainOptions {
        TrainOptions { engine: self.options(precision), ..TrainOptions::new(precision) }
    }

    /// Returns the options of [`training`](Self::training), for the optimizer of `update`.
    pub(super) fn training_by(&self, precision: Precision, update: &Update) -> TrainOptions {
        TrainOptions { optimizer: update.optimizer(), ..self.training(precision) }
    }

    #[track_caller]
    pub(super) fn open(&self, network: &ModelConfig, weights: &[f32], options: &EngineOptions) -> Box<dyn Engine> {
        self.backend.open(network, weights, options).unwrap()
    }

    #[track_caller]
    pub(super) fn train(&self, network: &ModelConfig, weights: &[f32], options: &TrainOptions) -> Box<dyn TrainEngine> {
        self.backend.open_training(network, weights, options).unwrap()
    }
}

pub(super) const ADAM: Update = Update {
    clip: 1.0,
    adam: AdamUpdate { lr: 1e-2, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.0 },
    hidden: HiddenUpdate::Adam,
    rates: LrMultipliers::ONES,
};

pub(super) const MUON: Update =
    Update { hidden: HiddenUpdate::Muon(MuonUpdate { lr: 0.02, momentum: 0.9, weight_decay: 0.1 }), ..ADAM };

/// Returns the tensors of a network.
pub(super) fn tensors_of(network: &ModelConfig) -> Vec<ParamTensor> {
    ParamLayout::new(network).tensors().to_vec()
}

/// Returns the weights of an engine, tensor after tensor.
pub(super) fn weights_of(engine: &dyn Engine) -> Vec<f32> {
    tensors_of(engine.config()).iter().flat_map(|tensor| engine.copy_weight(&tensor.name).unwrap()).collect()
}

/// Returns the present gradient, tensor after tensor.
pub(super) fn gradients(engine: &mut dyn TrainEngine) -> Vec<f32> {
    let tensors = tensors_of(engine.config());
    tensors.iter().flat_map(|tensor| engine.copy_gradient(&tensor.name).unwrap()).collect()
}

/// Returns an engine's values of a state, by tensor.
pub(super) fn moments(engine: &dyn TrainEngine, state: EngineState) -> Vec<(String, Vec<f32>)> {
    let tensors = engine.tensors(state);
    tensors.iter().map(|tensor| (tensor.name.clone(), engine.export(state, tensor).unwrap())).collect()
}

/// Panics unless `found` and `expected`, laid out tensor after tensor, are the same; names the first tensor that
/// differs.
#[track_caller]
pub(super) fn expect_equal(network: &ModelConfig, found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for tensor in tensors_of(network) {
        let (found, expected) = (&found[tensor.range()], &expected[tensor.range()]);
        if let Some(i) = (0..found.len()).find(|i| found[*i] != expected[*i]) {
            panic!("{what}: value {i} of {} is {:e}, but should be {:e}", tensor.name, found[i], expected[i]);
        }
    }
}
