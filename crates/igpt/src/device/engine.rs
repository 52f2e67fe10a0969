//! Engines for inference: an engine holds one copy of a model on a device and computes with it.

use crate::Result;
use crate::data::Batch;
use crate::model::ModelConfig;

/// Losses of a batch in a training or evaluation pass, with the predicted classes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LossSum {
    /// Negative log-likelihood of each image in nats, summed over its tokens, in the batch's order.
    ///
    /// For masked inputs, this is the mean over the masked positions times the image's number of tokens, so that
    /// images count alike (official code). It is empty in training on classes when the generative loss has weight 0:
    /// pixels are not scored then.
    pub nats: Vec<f64>,
    /// Number of tokens scored.
    pub tokens: usize,
    /// Cross-entropy of each image's class in nats, if the batch has labels and the model a classifier.
    ///
    /// In training with [`label_smoothing`](crate::device::FinetuneObjective::label_smoothing), this is the
    /// cross-entropy of the smoothed label.
    pub class_nats: Vec<f64>,
    /// Likeliest class of each image in [`class_nats`](Self::class_nats).
    pub predicted: Vec<u32>,
}

impl LossSum {
    /// Returns the mean loss in nats per token; NaN if no token was scored.
    pub fn mean(&self) -> f64 {
        self.nats.iter().sum::<f64>() / self.tokens as f64
    }

    /// Returns the mean loss of the classes in nats per label; NaN without labels.
    pub fn class_mean(&self) -> f64 {
        self.class_nats.iter().sum::<f64>() / self.class_nats.len() as f64
    }

    /// Appends the losses of the images in `behind`, which follow these in the batch.
    pub fn extend(&mut self, behind: LossSum) {
        self.nats.extend(behind.nats);
        self.tokens += behind.tokens;
        self.class_nats.extend(behind.class_nats);
        self.predicted.extend(behind.predicted);
    }
}

/// Pooling over positions that turns a layer's activations into an image's features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// Mean over the positions, as in the paper.
    #[default]
    Mean,
    /// Maximum over the positions, per channel.
    Max,
    /// Values of the last position, which has seen all pixels but its own.
    Last,
    /// Values of all positions, one after the other.
    None,
}

impl Pooling {
    /// All kinds of pooling.
    pub const ALL: [Pooling; 4] = [Pooling::Mean, Pooling::Max, Pooling::Last, Pooling::None];

    /// Name of the pooling in files and flags.
    pub fn name(self) -> &'static str {
        match self {
            Pooling::Mean => "mean",
            Pooling::Max => "max",
            Pooling::Last => "last",
            Pooling::None => "none",
        }
    }

    /// Returns the number of rows of n_embd values that pooling makes of `n_ctx` positions.
    pub fn rows(self, n_ctx: usize) -> usize {
        if self == Pooling::None { n_ctx } else { 1 }
    }
}

/// Engine for inference: one copy of a model on a device.
///
/// Images and results are in the host's memory. Weights are wherever the engine wants them.
pub trait Engine: Send {
    /// Returns the configuration of the network.
    fn config(&self) -> &ModelConfig;
    /// Returns a copy of a tensor's values on the host, in the order of its
    /// [shape](crate::model::ParamTensor::shape).
    ///
    /// # Errors
    /// When the network has no tensor of this name.
    fn copy_weight(&self, name: &str) -> Result<Vec<f32>>;
    /// Computes the loss of each image in a forward pass.
    fn evaluate(&mut self, batch: &Batch) -> Result<LossSum>;
    /// Writes the negative log-likelihood of each pixel in nats, (B, T), to `out`, in a forward pass.
    ///
    /// # Errors
    /// When the model is a masked model.
    fn pixel_nats(&mut self, batch: &Batch, out: &mut [f32]) -> Result<()>;
    /// Writes the logits (B, T, n_vocab) to `out`, in a forward pass; position t scores token t.
    fn logits(&mut self, batch: &Batch, out: &mut [f32]) -> Result<()>;
    /// Writes the classifier's logits (B, num_labels) to `out`, in a forward pass.
    ///
    /// # Errors
    /// When the model has no classifier.
    fn class_logits(&mut self, batch: &Batch, out: &mut [f32]) -> Result<()>;
    /// Writes the features of each layer in `layers`, `ln_1(h^l)` pooled over positions, to `out`.
    ///
    /// Layer l = n_layer stands for `ln_f`'s output. The shape is (B, layers, n_embd), or (B, layers, T, n_embd)
    /// without pooling (Chen et al. 2020, section 2.4). The forward pass stops at the deepest layer asked for.
    fn features(&mut self, batch: &Batch, layers: &[usize], pooling: Pooling, out: &mut [f32]) -> Result<()>;
    /// Returns whether the engine has decoders, regardless of its objective.
    fn has_decoders(&self) -> bool {
        true
    }
    /// Returns a decoder for `rows` images at once, which shares this engine's present weights.
    ///
    /// # Errors
    /// When the model is a masked model, which has no order to draw in.
    fn decoder(&self, rows: usize) -> Result<Box<dyn Decoder>>;
}

/// Decoder that draws images pixel by pixel with a KV cache.
///
/// Each row is one image at its own position.
pub trait Decoder: Send {
    /// Returns the number of images that the decoder holds at once.
    fn rows(&self) -> usize;
    /// Starts `row` anew with the first `given.len()` tokens of its image (prefill).
    ///
    /// One forward pass takes the tokens, or only sos if `given` is empty. It writes the logits (n_vocab) of the next
    /// pixel to `logits`.
    fn start(&mut self, row: usize, given: &[u16], logits: &mut [f32]) -> Result<()>;
    /// Copies the state of row `from` to row `to`: the same image at the same pixel.
    fn copy(&mut self, from: usize, to: usize) -> Result<()>;
    /// Feeds each (row, token) and writes the logits (inputs, n_vocab) of each row's next pixel (one decode step).
    ///
    /// A row's result does not depend on which other rows are fed with it.
    fn step(&mut self, inputs: &[(usize, u16)], logits: &mut [f32]) -> Result<()>;
}
