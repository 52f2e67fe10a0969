//! Inference: an engine holds one copy of a model on a device and computes with it.

use crate::Result;
use crate::data::Batch;
use crate::model::ModelConfig;

/// What a training or evaluation pass over a batch found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LossSum {
    /// Nats of each image, summed over its tokens, in the batch's order. Of masked inputs the mean over the masked
    /// positions times the image's tokens, so that images count alike (official code). Empty where training weighs
    /// pixels with 0 beside classes: they are not scored then.
    pub nats: Vec<f64>,
    /// Tokens scored.
    pub tokens: usize,
    /// Nats of each image's class, where the batch has labels and the model a classifier; in training with
    /// [`label_smoothing`](crate::device::FinetuneObjective::label_smoothing) those of the smoothed label.
    pub class_nats: Vec<f64>,
    /// The likeliest class of each of these images.
    pub predicted: Vec<u32>,
}

impl LossSum {
    /// Nats per token; not a number where none was scored.
    pub fn mean(&self) -> f64 {
        self.nats.iter().sum::<f64>() / self.tokens as f64
    }

    /// Nats per label.
    pub fn class_mean(&self) -> f64 {
        self.class_nats.iter().sum::<f64>() / self.class_nats.len() as f64
    }

    /// Appends what was found on the images behind.
    pub fn extend(&mut self, behind: LossSum) {
        self.nats.extend(behind.nats);
        self.tokens += behind.tokens;
        self.class_nats.extend(behind.class_nats);
        self.predicted.extend(behind.predicted);
    }
}

/// How the values of a layer's positions become an image's features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// Their mean, as in the paper.
    #[default]
    Mean,
    /// The largest of each.
    Max,
    /// Those of the last position, which has seen all pixels but its own.
    Last,
    /// All of them, position after position.
    None,
}

impl Pooling {
    /// Its name in files and flags.
    pub fn name(self) -> &'static str {
        match self {
            Pooling::Mean => "mean",
            Pooling::Max => "max",
            Pooling::Last => "last",
            Pooling::None => "none",
        }
    }

    /// Rows of n_embd values that it makes of `n_ctx` positions.
    pub fn rows(self, n_ctx: usize) -> usize {
        if self == Pooling::None { n_ctx } else { 1 }
    }
}

/// One copy of the model, and whatever computes it. Images and results are in the host's memory, weights where the
/// engine wants them.
pub trait Engine: Send {
    /// The network's shape.
    fn config(&self) -> &ModelConfig;
    /// The values of a tensor copied to the host, in the order of its [shape](crate::model::ParamTensor::shape).
    ///
    /// # Errors
    /// When the network has no tensor of this name.
    fn copy_weight(&self, name: &str) -> Result<Vec<f32>>;
    /// Forward only: nats of each image.
    fn evaluate(&mut self, batch: &Batch) -> Result<LossSum>;
    /// Forward only: nats of each pixel, (B, T) in `out`. An error for a model of masked pixels.
    fn pixel_nats(&mut self, batch: &Batch, out: &mut [f32]) -> Result<()>;
    /// Forward only: logits (B, T, n_vocab) in `out`; position t scores token t.
    fn logits(&mut self, batch: &Batch, out: &mut [f32]) -> Result<()>;
    /// Forward only: logits of the classifier, (B, num_labels) in `out`; an error without one.
    fn class_logits(&mut self, batch: &Batch, out: &mut [f32]) -> Result<()>;
    /// `ln_1(h^l)` of each layer asked for, pooled over positions (l = n_layer is `ln_f`'s output): (B, layers, n_embd)
    /// in `out`, or (B, layers, T, n_embd) without pooling (Chen et al. 2020, section 2.4). Stops at the deepest layer
    /// asked for.
    fn features(&mut self, batch: &Batch, layers: &[usize], pooling: Pooling, out: &mut [f32]) -> Result<()>;
    /// Whether it has decoders, apart from its objective.
    fn draws(&self) -> bool {
        true
    }
    /// A decoder for `rows` images at once, sharing this engine's present weights. An error for a model of masked
    /// pixels, which has no order to draw in.
    fn decoder(&self, rows: usize) -> Result<Box<dyn Decoder>>;
}

/// Draws images pixel by pixel with a KV cache; each row is one image at its own position.
pub trait Decoder: Send {
    /// How many images it holds at once.
    fn rows(&self) -> usize;
    /// Starts `row` anew with the first `given.len()` tokens of its image (none: only sos) in one forward pass and
    /// writes the logits (n_vocab) of the next pixel.
    fn start(&mut self, row: usize, given: &[u16], logits: &mut [f32]) -> Result<()>;
    /// Makes row `to` what row `from` is: the same image at the same pixel.
    fn copy(&mut self, from: usize, to: usize) -> Result<()>;
    /// Feeds each (row, token) and writes the logits of each row's next pixel, (inputs, n_vocab). A row's result
    /// does not depend on which other rows are fed with it.
    fn step(&mut self, inputs: &[(usize, u16)], logits: &mut [f32]) -> Result<()>;
}
