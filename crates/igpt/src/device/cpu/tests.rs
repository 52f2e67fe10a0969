//! The engine against itself and against finite differences; `tests/goldens` compares it with PyTorch.

mod bits;
mod decoding;
mod gradients;
mod passes;
mod updates;

use super::*;
use crate::data::{Batch, Masking};
use crate::device::{AdamUpdate, MuonUpdate, Pooling, State, Update};
use crate::model::{ClassHead, Objective, RateGroup, Rates};
use crate::image::{ImageSize};
use crate::rng::{Purpose, Rng};

const ADAM: Update = Update {
    clip: 1.0,
    adam: AdamUpdate { lr: 1e-2, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.0 },
    muon: None,
    rates: Rates::EVEN,
};

const MUON: Update =
    Update { muon: Some(MuonUpdate { lr: 0.02, momentum: 0.9, weight_decay: 0.1, heads: false }), ..ADAM };

const MUON_HEADS: Update =
    Update { muon: Some(MuonUpdate { lr: 0.02, momentum: 0.9, weight_decay: 0.1, heads: true }), ..ADAM };

/// A network with nothing round about it: padded channels, heads and colours, and biases.
fn odd() -> ModelConfig {
    let mut config = ModelConfig::new(ImageSize { height: 8, width: 9 }, 61, 36, 2, 3);
    config.biases = true;
    config
}

/// Random weights of a size that makes every part of the network matter.
fn random_weights(config: &ModelConfig) -> Vec<f32> {
    let layout = Layout::new(config);
    let mut arena = vec![0.0; layout.arena_len()];
    for (index, tensor) in layout.tensors().iter().enumerate() {
        let mut rng = Rng::new(7, Purpose::Init, index as u64, 0);
        let centre = if tensor.name.contains("ln_") { 1.0 } else { 0.0 };
        let values: Vec<f32> = (0..tensor.len()).map(|_| (centre + 0.15 * rng.normal()) as f32).collect();
        layout.import(tensor, &values, &mut arena).unwrap();
    }
    arena
}

fn random_batch(config: &ModelConfig, images: usize) -> Batch {
    let mut rng = Rng::new(3, Purpose::Sample, 0, 0);
    let tokens = (0..images * config.n_ctx()).map(|_| rng.below(config.n_vocab as u64) as u16).collect();
    Batch::new(tokens, config.n_ctx())
}

fn options(precision: Precision, isa: Isa, threads: usize) -> Options {
    Options { threads, isa, ..Options::training(precision) }
}

/// The odd network with masked inputs.
fn masked() -> ModelConfig {
    ModelConfig { objective: Objective::Masked, ..odd() }
}

/// `config` with a classifier of five classes on `layer`.
fn classifier(config: ModelConfig, layer: usize) -> ModelConfig {
    ModelConfig { class_head: Some(ClassHead { num_labels: 5, layer }), ..config }
}

/// A batch for `config`: masked if it wants that, labelled if it has a classifier.
fn batch_for(config: &ModelConfig, images: usize) -> Batch {
    let mut batch = random_batch(config, images);
    if config.objective == Objective::Masked {
        batch = Masking::training(1, 0.3).mask(batch, 0);
    }
    match config.class_head {
        Some(head) => batch.with_labels((0..images as u32).map(|i| (i * 3 + 1) % head.num_labels as u32).collect()),
        None => batch,
    }
}
