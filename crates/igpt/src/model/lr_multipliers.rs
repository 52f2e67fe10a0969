//! Learning rates that differ from one parameter tensor to another.

use crate::model::ParamTensor;

/// What a tensor's learning rate depends on beside the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LrGroup {
    /// Blocks above its own. Embeddings count as part of the first block, the final norm and the output matrices as part of
    /// the last.
    pub blocks_above: usize,
    /// Whether it is a matrix that sums over the network's width: of a block, of the output or of the classifier.
    pub sums_width: bool,
    /// Whether it is the classifier's matrix.
    pub classifier: bool,
}

impl LrGroup {
    /// That of a tensor of a network of `n_layer` blocks.
    pub fn of(tensor: &ParamTensor, n_layer: usize) -> Self {
        let block = match tensor.name.strip_prefix("transformer.h.") {
            Some(rest) => rest.split('.').next().and_then(|block| block.parse().ok()).unwrap_or(0),
            None if ["transformer.wte.weight", "transformer.wpe.weight"].contains(&tensor.name.as_str()) => 0,
            None => n_layer - 1,
        };
        let classifier = tensor.name == "score.weight";
        let output = classifier || tensor.name == "lm_head.weight";
        Self { blocks_above: n_layer - 1 - block, sums_width: tensor.hidden || output, classifier }
    }
}

/// Factors of the learning rates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LrMultipliers {
    /// For each block above a tensor's, of either optimiser.
    pub layer_decay: f32,
    /// For matrices that sum over the network's width, of Adam alone: Muon's steps are made to the matrix's shape.
    pub width: f32,
    /// For the classifier's matrix: it begins at zero on top of a network that may be trained already.
    pub head: f32,
}

impl LrMultipliers {
    /// The same rate for all.
    pub const EVEN: Self = Self { layer_decay: 1.0, width: 1.0, head: 1.0 };

    /// Factor of Adam's rate for a tensor of `group`.
    pub fn adam(&self, group: LrGroup) -> f32 {
        let width = if group.sums_width { self.width } else { 1.0 };
        let head = if group.classifier { self.head } else { 1.0 };
        self.muon(group) * width * head
    }

    /// Factor of Muon's rate for a matrix of `group`.
    pub fn muon(&self, group: LrGroup) -> f32 {
        (0..group.blocks_above).fold(1.0, |factor, _| factor * self.layer_decay)
    }
}
