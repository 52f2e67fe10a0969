//! What is the processor's own; `igpt::testing::conformance` has what holds for every backend.

mod bits;
mod buckets;
mod padding;

use igpt_kernels::Isa;

use super::CpuBackend;
use crate::device::{
    AdamUpdate, Backend, EngineOptions, EngineState, FinetuneObjective, HiddenUpdate, MuonUpdate, Precision,
    TrainEngine, TrainOptions, Update,
};
use crate::model::{LrMultipliers, ModelConfig};
use crate::testing::{batch_for, classifier, masked_network, random_batch, random_weights, tiny_network};

const ADAM: Update = Update {
    clip: 1.0,
    adam: AdamUpdate { lr: 1e-2, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.0 },
    hidden: HiddenUpdate::Adam,
    rates: LrMultipliers::ONES,
};

const MUON: Update =
    Update { hidden: HiddenUpdate::Muon(MuonUpdate { lr: 0.02, momentum: 0.9, weight_decay: 0.1 }), ..ADAM };

/// Options of an engine that `update` is for.
fn options(precision: Precision, threads: usize, update: &Update) -> TrainOptions {
    let engine = EngineOptions { threads, ..EngineOptions::new(precision) };
    TrainOptions { engine, optimizer: update.optimizer(), ..TrainOptions::new(precision) }
}

fn open(isa: Isa, network: &ModelConfig, options: &TrainOptions) -> Box<dyn TrainEngine> {
    CpuBackend::with(isa).open_training(network, &random_weights(network), options).unwrap()
}
