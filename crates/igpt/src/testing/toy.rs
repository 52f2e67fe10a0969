//! Small networks with random weights, and batches for them.

use crate::data::{Batch, Masking};
use crate::image::ImageSize;
use crate::model::{ClassHead, ModelConfig, Objective, ParamLayout};
use crate::rng::{Purpose, Rng};

/// Tiny network with odd sizes: channels, heads, colours and images that fit no vector, and biases.
pub fn tiny_network() -> ModelConfig {
    let n_px = ImageSize { height: 8, width: 9 };
    ModelConfig { biases: true, ..ModelConfig::new(n_px, 61, 36, 2, 3) }
}

/// [`tiny_network`] with the masked (BERT) objective.
pub fn masked_network() -> ModelConfig {
    ModelConfig { objective: Objective::Masked, ..tiny_network() }
}

/// Adds a classifier of five classes on `layer` to `network`.
pub fn classifier(network: ModelConfig, layer: usize) -> ModelConfig {
    ModelConfig { class_head: Some(ClassHead { num_labels: 5, layer }), ..network }
}

/// Random weights of a size that makes every part of the network matter.
pub fn random_weights(network: &ModelConfig) -> Vec<f32> {
    let layout = ParamLayout::new(network);
    let mut weights = Vec::with_capacity(layout.parameters());
    for (index, tensor) in layout.tensors().iter().enumerate() {
        let mut rng = Rng::new(7, Purpose::Init, index as u64, 0);
        let centre = if tensor.name.contains("ln_") { 1.0 } else { 0.0 };
        weights.extend((0..tensor.len()).map(|_| (centre + 0.15 * rng.normal()) as f32));
    }
    weights
}

/// Batch of images with random tokens.
pub fn random_batch(network: &ModelConfig, images: usize) -> Batch {
    let mut rng = Rng::new(3, Purpose::Sample, 0, 0);
    let tokens = (0..images * network.n_ctx()).map(|_| rng.below(network.n_vocab as u64) as u16).collect();
    Batch::new(tokens, network.n_ctx())
}

/// Random batch that `network` can be trained on: masked if its objective is, labelled if it has a classifier.
pub fn batch_for(network: &ModelConfig, images: usize) -> Batch {
    let mut batch = random_batch(network, images);
    if network.objective == Objective::Masked {
        batch = Masking::training(1, 0.3).mask(batch, 0);
    }
    match network.class_head {
        Some(head) => batch.with_labels((0..images as u32).map(|i| (i * 3 + 1) % head.num_labels as u32).collect()),
        None => batch,
    }
}
