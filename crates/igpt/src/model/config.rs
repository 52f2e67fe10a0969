//! Configuration of a network: sizes, objective, named presets, and the check that they fit together.

use crate::image::ImageSize;
use crate::{Error, Result};

/// Probability that a position is masked, in the paper.
pub const MASK_PROB: f64 = 0.15;

/// Training objective of a network (Chen et al. 2020, section 2.1).
///
/// The objective also decides what the network sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// Prediction of each pixel from the pixels before it in raster order.
    ///
    /// The input is sos followed by the image without its last pixel. Attention has a causal mask.
    #[default]
    Autoregressive,
    /// Prediction of masked pixels from all other pixels (BERT).
    ///
    /// The input is the image itself, without a shift. Attention has no mask. A masked position has no token
    /// embedding.
    Masked,
}

impl Objective {
    /// Both training objectives.
    pub const ALL: [Objective; 2] = [Objective::Autoregressive, Objective::Masked];

    /// Name of the objective in configs and flags.
    pub fn name(self) -> &'static str {
        match self {
            Objective::Autoregressive => "autoregressive",
            Objective::Masked => "masked",
        }
    }
}

/// Linear classifier on top of a network.
///
/// It maps the mean over positions of `ln_1(h^layer)` to the logits of the classes. For the last layer it reads
/// `ln_f`'s output instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassHead {
    /// Number of classes.
    pub num_labels: usize,
    /// Layer whose features the classifier reads, 0 to `n_layer`.
    pub layer: usize,
}

/// Configuration of a network: everything that fixes its shape and mathematics.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// Height and width of the images; `n_ctx` is their number of pixels.
    pub n_px: ImageSize,
    /// Number of palette colours; the sos token is not counted.
    pub n_vocab: usize,
    /// Width of the residual stream.
    pub n_embd: usize,
    /// Number of transformer blocks.
    pub n_layer: usize,
    /// Number of attention heads; divides `n_embd`.
    pub n_head: usize,
    /// Width of the MLP's hidden layer, 4·`n_embd` in the paper.
    pub n_inner: usize,
    /// Epsilon that the norms add to the mean square, 1e-5 in the official code.
    pub layer_norm_epsilon: f32,
    /// Whether the four matrix products of a block add biases.
    ///
    /// The paper's networks have none, but transformers trains them.
    pub biases: bool,
    /// Training objective.
    pub objective: Objective,
    /// Probability that a position is masked, in training and whenever a masked model is evaluated.
    ///
    /// Other models ignore it.
    pub mask_prob: f64,
    /// Classifier on top of the network, if it has one.
    pub class_head: Option<ClassHead>,
}

/// Named network sizes: three small ones for a CPU and the paper's four.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum Preset {
    /// Small network for a CPU: 6 blocks of width 128 with 4 heads.
    Nano,
    /// Small network for a CPU: 8 blocks of width 256 with 8 heads.
    Tiny,
    /// Small network for a CPU: 12 blocks of width 384 with 6 heads.
    Xs,
    /// The paper's iGPT-S: 24 blocks of width 512 with 8 heads.
    S,
    /// The paper's iGPT-M: 36 blocks of width 1024 with 8 heads.
    M,
    /// The paper's iGPT-L: 48 blocks of width 1536 with 16 heads.
    L,
    /// The paper's iGPT-XL: 60 blocks of width 3072 with 48 heads.
    Xl,
}

impl Preset {
    /// All presets, smallest first.
    pub const ALL: [Preset; 7] = [Self::Nano, Self::Tiny, Self::Xs, Self::S, Self::M, Self::L, Self::Xl];

    /// Name of the preset in configs and flags.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nano => "nano",
            Self::Tiny => "tiny",
            Self::Xs => "xs",
            Self::S => "s",
            Self::M => "m",
            Self::L => "l",
            Self::Xl => "xl",
        }
    }

    /// Shape of the preset's network: (`n_embd`, `n_layer`, `n_head`).
    ///
    /// The paper does not publish iGPT-XL's number of heads; 48 keeps its head size at 64.
    pub fn shape(self) -> (usize, usize, usize) {
        match self {
            Self::Nano => (128, 6, 4),
            Self::Tiny => (256, 8, 8),
            Self::Xs => (384, 12, 6),
            Self::S => (512, 24, 8),
            Self::M => (1024, 36, 8),
            Self::L => (1536, 48, 16),
            Self::Xl => (3072, 60, 48),
        }
    }
}

impl ModelConfig {
    /// Returns a preset's network for images of `n_px` with `n_vocab` colours, as in the official code.
    pub fn preset(preset: Preset, n_px: ImageSize, n_vocab: usize) -> Self {
        let (n_embd, n_layer, n_head) = preset.shape();
        Self::new(n_px, n_vocab, n_embd, n_layer, n_head)
    }

    /// Returns the paper's network at any size.
    ///
    /// It is autoregressive, its MLP is 4·`n_embd` wide, and it has neither biases nor a classifier.
    pub fn new(n_px: ImageSize, n_vocab: usize, n_embd: usize, n_layer: usize, n_head: usize) -> Self {
        Self {
            n_px,
            n_vocab,
            n_embd,
            n_layer,
            n_head,
            n_inner: n_embd.saturating_mul(4),
            layer_norm_epsilon: 1e-5,
            biases: false,
            objective: Objective::Autoregressive,
            mask_prob: MASK_PROB,
            class_head: None,
        }
    }

    /// Number of positions of a sequence: the pixels of an image.
    pub fn n_ctx(&self) -> usize {
        self.n_px.pixels()
    }

    /// Number of channels of one attention head.
    pub fn head_size(&self) -> usize {
        self.n_embd / self.n_head
    }

    /// Number of trainable parameters, counted as in the paper (the sos vector included), plus the classifier's.
    pub fn parameters(&self) -> usize {
        let (c, i) = (self.n_embd, self.n_inner);
        let matrices = 4 * c * c + 2 * c * i;
        let biases = if self.biases { 3 * c + c + i + c } else { 0 };
        let classes = self.class_head.map_or(0, |head| head.num_labels);
        self.n_layer * (matrices + biases + 2 * c) + (2 * self.n_vocab + 1 + self.n_ctx() + 1 + classes) * c
    }

    /// Checks that the sizes fit together.
    ///
    /// # Errors
    /// When they do not; the message lists every problem at once.
    pub fn validate(&self) -> Result<()> {
        let mut problems = Vec::new();
        for (name, side) in [("height", self.n_px.height), ("width", self.n_px.width)] {
            if !(8..=64).contains(&side) {
                problems.push(format!("the image {name} is {side}, but 8 to 64 pixels are supported"));
            }
        }
        if !(2..=65536).contains(&self.n_vocab) {
            problems.push(format!("n_vocab is {}, but a palette has 2 to 65536 colours", self.n_vocab));
        }
        for (name, value) in
            [("n_embd", self.n_embd), ("n_layer", self.n_layer), ("n_head", self.n_head), ("n_inner", self.n_inner)]
        {
            if value == 0 {
                problems.push(format!("{name} must be at least 1"));
            }
        }
        for (name, value, most) in [("n_embd", self.n_embd, 1 << 20), ("n_layer", self.n_layer, 10_000)] {
            if value > most {
                problems.push(format!("{name} is {value}, but at most {most} is supported"));
            }
        }
        // The arena pads sides and heads, by less than 32 each.
        let [layers, width, inner, heads] =
            [self.n_layer, self.n_embd, self.n_inner, self.n_head].map(|size| size as f64 + 32.0);
        let blocks = layers * width * (4.0 * (width + 16.0 * heads) + 2.0 * inner);
        let values = blocks + 2.0 * width * (self.n_vocab as f64 + 32.0);
        if values > 2f64.powi(42) {
            problems.push(format!("a network of about {values:.0e} values is larger than any memory"));
        }
        if self.n_head > 0 && !self.n_embd.is_multiple_of(self.n_head) {
            problems.push(format!("n_embd {} is not divisible by n_head {}", self.n_embd, self.n_head));
        }
        if !(self.layer_norm_epsilon > 0.0 && self.layer_norm_epsilon.is_finite()) {
            problems.push(format!("layer_norm_epsilon {} must be positive", self.layer_norm_epsilon));
        }
        if let Some(ClassHead { num_labels, layer }) = self.class_head {
            if num_labels < 2 {
                problems.push(format!("num_labels is {num_labels}, but a classifier has at least 2 classes"));
            }
            if layer > self.n_layer {
                problems.push(format!("the classifier's layer is {layer}, but the model has 0 to {}", self.n_layer));
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(Error::Invalid(problems.join("; "))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_count_the_papers_parameters_to_the_unit() {
        let count = |p| ModelConfig::preset(p, ImageSize::square(32), 512).parameters();
        assert_eq!(count(Preset::S), 76_571_648);
        assert_eq!(count(Preset::M), 455_157_760);
        assert_eq!(count(Preset::L), 1_362_250_752);
        assert_eq!(count(Preset::Xl), 6_801_438_720);
    }

    #[test]
    fn validate_reports_every_problem_at_once() {
        let mut config = ModelConfig::preset(Preset::Nano, ImageSize { height: 7, width: 65 }, 1);
        config.n_head = 3;
        let message = config.validate().unwrap_err().to_string();
        for part in ["height is 7", "width is 65", "n_vocab is 1", "n_embd 128 is not divisible by n_head 3"] {
            assert!(message.contains(part), "{message}");
        }
    }
}
