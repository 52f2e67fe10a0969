//! Names and shapes of a network's parameters, and their order in one flat list of values.
//!
//! The values of a network are a `Vec<f32>`: tensor after tensor in the order of [`ParamLayout::tensors`], each in
//! the order of its shape (Hugging Face's). An engine may use another order internally.

use std::ops::Range;

use crate::model::ModelConfig;
use crate::model::init::TensorInit;
use crate::{Error, Result};

/// Name, shape and place of one parameter tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamTensor {
    /// Hugging Face's name of the tensor, for example `transformer.h.0.attn.c_attn.weight`.
    pub name: String,
    /// Hugging Face's shape of the tensor: one or two dimensions.
    pub shape: Vec<usize>,
    /// Index of the tensor's first value in the flat list.
    pub offset: usize,
    /// Initial values in the official code.
    pub init: TensorInit,
    /// Whether the tensor is the matrix of a product inside a block, which Muon updates.
    pub hidden: bool,
}

impl ParamTensor {
    /// Range of the tensor's values in the flat list.
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.len()
    }

    /// Number of values of the tensor.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the tensor has no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Names, shapes and order of all parameters of a model.
#[derive(Clone, Debug)]
pub struct ParamLayout {
    tensors: Vec<ParamTensor>,
    len: usize,
}

impl ParamLayout {
    /// Returns the layout of `config`'s network.
    ///
    /// The order is: embeddings, blocks, final norm, output matrix, classifier.
    pub fn new(config: &ModelConfig) -> Self {
        let mut layout = ParamLayout { tensors: Vec::new(), len: 0 };
        let (c, inner) = (config.n_embd, config.n_inner);
        let heads = config.n_head * config.head_size();
        let fan_in = (c as f64).powf(-0.5);
        let residual = ((c * config.n_layer) as f64).powf(-0.5);

        layout.push("transformer.wte.weight", &[config.n_vocab + 1, c], TensorInit::Normal(0.02));
        layout.push("transformer.wpe.weight", &[config.n_ctx(), c], TensorInit::Normal(0.01));
        for i in 0..config.n_layer {
            let h = format!("transformer.h.{i}");
            let mut product = |name: &str, rows, cols, init| {
                layout.push(&format!("{h}.{name}.weight"), &[rows, cols], init);
                if config.biases {
                    layout.push(&format!("{h}.{name}.bias"), &[cols], TensorInit::Zeros);
                }
            };
            product("attn.c_attn", c, 3 * heads, TensorInit::Normal(fan_in));
            product("attn.c_proj", heads, c, TensorInit::Normal(residual));
            product("mlp.c_fc", c, inner, TensorInit::Normal(0.02));
            product("mlp.c_proj", inner, c, TensorInit::Normal(0.02));
            layout.push(&format!("{h}.ln_1.weight"), &[c], TensorInit::Ones);
            layout.push(&format!("{h}.ln_2.weight"), &[c], TensorInit::Ones);
        }
        layout.push("transformer.ln_f.weight", &[c], TensorInit::Ones);
        layout.push("lm_head.weight", &[config.n_vocab, c], TensorInit::Zeros);
        if let Some(head) = config.class_head {
            layout.push("score.weight", &[head.num_labels, c], TensorInit::Zeros);
        }
        layout
    }

    fn push(&mut self, name: &str, shape: &[usize], init: TensorInit) {
        let hidden = name.starts_with("transformer.h.") && shape.len() > 1;
        self.tensors.push(ParamTensor { name: name.into(), shape: shape.into(), offset: self.len, init, hidden });
        self.len += shape.iter().product::<usize>();
    }

    /// Number of values of all tensors together.
    pub fn parameters(&self) -> usize {
        self.len
    }

    /// All parameter tensors, in order.
    pub fn tensors(&self) -> &[ParamTensor] {
        &self.tensors
    }

    /// Writes a tensor's `values` to its place in `weights`.
    ///
    /// # Errors
    /// When the number of values does not match the tensor's shape; the message names the tensor.
    pub fn import(&self, tensor: &ParamTensor, values: &[f32], weights: &mut [f32]) -> Result<()> {
        if values.len() != tensor.len() {
            return Err(Error::Mismatch(format!(
                "{} has {} values, but its shape {:?} needs {}",
                tensor.name,
                values.len(),
                tensor.shape,
                tensor.len()
            )));
        }
        weights[tensor.range()].copy_from_slice(values);
        Ok(())
    }

    /// Returns the tensor called `name`.
    pub fn tensor(&self, name: &str) -> Option<&ParamTensor> {
        self.tensors.iter().find(|t| t.name == name)
    }
}

/// Refuses `weights` whose number of values differs from that of `config`'s network.
///
/// # Errors
/// When the numbers differ; the message names both.
pub fn expect_weights(config: &ModelConfig, weights: &[f32]) -> Result<()> {
    match config.parameters() {
        count if count == weights.len() => Ok(()),
        count => Err(Error::Mismatch(format!("{} weights were given, but the model has {count}", weights.len()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageSize;
    use crate::model::ClassHead;

    #[test]
    fn tensors_lie_one_behind_the_other_and_are_as_many_values_as_the_config_counts() {
        for biases in [false, true] {
            let mut config = ModelConfig::new(ImageSize { height: 9, width: 17 }, 61, 72, 3, 3);
            (config.biases, config.class_head) = (biases, Some(ClassHead { num_labels: 5, layer: 1 }));
            let layout = ParamLayout::new(&config);
            let ends: Vec<usize> = layout.tensors().iter().map(|tensor| tensor.range().end).collect();
            assert!(layout.tensors().iter().skip(1).zip(&ends).all(|(tensor, end)| tensor.offset == *end));
            assert_eq!((ends.last(), layout.parameters()), (Some(&config.parameters()), config.parameters()));
        }
    }
}
