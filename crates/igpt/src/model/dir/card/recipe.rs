//! The card's section on use: commands of igpt, and a Python program that computes the same with transformers.
//!
//! The program is assembled from the `.py` files beside this one, according to the kind of model. It converts
//! pictures to tokens by itself, because transformers' image processor produces other tokens.
//! `scripts/check_transformers.py` runs it.

use crate::model::{ModelConfig, Objective};

const PICTURES: &str = include_str!("pictures.py");
const CAUSAL: &str = include_str!("causal.py");
const LIKELIHOOD: &str = include_str!("likelihood.py");
const CLASSES: &str = include_str!("classes.py");
const GENERATOR: &str = include_str!("generator.py");
const MASKED: &str = include_str!("masked.py");
const FILL: &str = include_str!("fill.py");
const VOTES: &str = include_str!("votes.py");

/// Returns the section for a model of this shape. `generates` says whether its generative head was trained.
pub(super) fn usage(config: &ModelConfig, generates: bool) -> String {
    let commands = match (config.class_head.is_some(), config.objective) {
        (true, _) => "`igpt classify --model DIR FILE…` names the classes of pictures",
        (false, Objective::Autoregressive) => "`igpt sample --model DIR` draws pictures",
        (false, Objective::Masked) => "`igpt complete --model DIR` fills holes in pictures",
    };
    format!(
        "## Use\n\n{commands}, and `igpt embed --model DIR --data FOLDER` gives features.\n\n{}\n\n```python\n{}```\n\n{}\n",
        introduction(config, generates),
        program(config, generates),
        remarks(config)
    )
}

fn introduction(config: &ModelConfig, generates: bool) -> String {
    let mut text = String::from("The same in Python, with `pip install \"transformers>=5\" torch pillow numpy`.");
    if config.objective == Objective::Masked {
        text += " transformers' ImageGPT is causal, and so `generate` draws nothing sensible from these weights; but the \
                 mask can be opened, and then features and masked pixels are those of igpt. They are an input without sos.";
    }
    if config.class_head.is_some() && !generates {
        text += " Its generative head was never trained, so it neither draws nor says how likely a picture is.";
    }
    text
}

/// Returns remarks on how transformers' own pipelines differ.
fn remarks(config: &ModelConfig) -> String {
    let sos = config.n_vocab;
    let mut text = String::from(
        "transformers' image processor gives other tokens: it leaves transparency and Exif orientation out of account, and \
         squeezes pictures that are not of the model's proportions.",
    );
    if config.objective == Objective::Autoregressive {
        text += &format!(
            " Features are those of the shifted input, the token {sos} (sos) followed by the tokens but the last; unshifted \
             tokens give others."
        );
    }
    if config.class_head.is_some() {
        text += " `pipeline(\"image-classification\")` uses that processor and feeds the tokens unshifted and without sos, \
                 which is not equivalent.";
    }
    text
}

fn program(config: &ModelConfig, generates: bool) -> String {
    let classifier = config.class_head;
    let parts: &[&str] = match (config.objective, classifier.is_some(), generates) {
        (Objective::Autoregressive, false, _) => &[PICTURES, CAUSAL, LIKELIHOOD],
        (Objective::Autoregressive, true, true) => &[PICTURES, CAUSAL, CLASSES, GENERATOR, LIKELIHOOD],
        (Objective::Autoregressive, true, false) => &[PICTURES, CAUSAL, CLASSES],
        (Objective::Masked, false, _) => &[PICTURES, MASKED, FILL],
        (Objective::Masked, true, _) => &[PICTURES, MASKED, VOTES],
    };
    let (generative, classifying) = ("ImageGPTForCausalImageModeling", "ImageGPTForImageClassification");
    let class = if classifier.is_some() { classifying } else { generative };
    let layer = classifier.map_or(config.n_layer, |head| head.layer);
    // transformers' classifier always reads the last layer.
    let logits = match layer == config.n_layer {
        true => "out.logits".into(),
        false => format!("model.score(features(out, {layer}))"),
    };
    let imports = if parts.contains(&GENERATOR) { format!("{generative}, {class}") } else { class.into() };
    parts
        .concat()
        .replace("import MODEL_CLASS", &format!("import {imports}"))
        .replace("MODEL_CLASS", class)
        .replace("MIDDLE_LAYER", &config.n_layer.div_ceil(2).to_string())
        .replace("CLASS_LAYER", &layer.to_string())
        .replace("CLASS_LOGITS", &logits)
        .replace("MASK_PROB", &config.mask_prob.to_string())
}
