//! Learning rates that differ between parameter tensors.

use crate::model::ParamTensor;

/// Properties of a tensor that decide its learning rate, besides the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LrGroup {
    /// Number of blocks above the tensor's own block.
    ///
    /// Embeddings count as part of the first block, the final norm and the output matrices as part of the last.
    pub blocks_above: usize,
    /// Whether the tensor is a matrix that sums over the network's width: of a block, of the output or of the
    /// classifier.
    pub sums_width: bool,
    /// Whether the tensor is the classifier's matrix.
    pub classifier: bool,
}

impl LrGroup {
    /// Returns the group of a tensor of a network with `n_layer` blocks.
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

/// Multipliers of the learning rate: by depth, by width and for the classifier.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LrMultipliers {
    /// Factor for each block above a tensor's own, in Adam and Muon (layer-wise learning-rate decay).
    pub layer_decay: f32,
    /// Factor for matrices that sum over the network's width, in Adam only.
    ///
    /// Muon's steps are scaled by the matrix's shape already.
    pub width: f32,
    /// Factor for the classifier's matrix.
    ///
    /// It starts at zero on top of a network that may be trained already.
    pub head: f32,
}

impl LrMultipliers {
    /// Multipliers of 1: the same learning rate for all tensors.
    pub const ONES: Self = Self { layer_decay: 1.0, width: 1.0, head: 1.0 };

    /// Multiplier of Adam's learning rate for a tensor of `group`.
    pub fn adam(&self, group: LrGroup) -> f32 {
        let width = if group.sums_width { self.width } else { 1.0 };
        let head = if group.classifier { self.head } else { 1.0 };
        self.muon(group) * width * head
    }

    /// Multiplier of Muon's learning rate for a matrix of `group`.
    pub fn muon(&self, group: LrGroup) -> f32 {
        (0..group.blocks_above).fold(1.0, |factor, _| factor * self.layer_decay)
    }
}
