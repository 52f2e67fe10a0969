//! The model card: `README.md` of a model directory, as the Hugging Face hub shows it.

use crate::model::{ClassHead, ModelConfig, Objective};

/// What the card says beyond what the files themselves tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Card {
    /// Sentences on how the model came to be: data, recipe, command.
    pub lines: Vec<String>,
    /// Measured figures: what, and the value with its unit and split.
    pub figures: Vec<(String, String)>,
}

impl Card {
    /// The Markdown text.
    pub(super) fn to_markdown(&self, config: &ModelConfig) -> String {
        let task = if config.class_head.is_some() { "image-classification" } else { "unconditional-image-generation" };
        let mut text = format!(
            "---\nlibrary_name: transformers\npipeline_tag: {task}\ntags:\n- imagegpt\n- igpt\n---\n\n# Image GPT\n\n"
        );
        let size = config.n_px;
        let predicts = match config.objective {
            Objective::Autoregressive => format!("predicts {size} images pixel by pixel in raster order"),
            Objective::Masked => format!("predicts masked pixels of {size} images from all others"),
        };
        text += &format!(
            "A transformer that {predicts} (Chen et al., *Generative Pretraining From \
             Pixels*, ICML 2020): {} blocks of width {} with {} heads, a palette of {} colours, {} parameters.\n\n",
            config.n_layer,
            config.n_embd,
            config.n_head,
            config.n_vocab,
            config.parameters()
        );
        for line in &self.lines {
            text += &format!("{line}\n\n");
        }
        if !self.figures.is_empty() {
            text += "| figure | value |\n|---|---|\n";
            for (name, value) in &self.figures {
                text += &format!("| {} | {} |\n", name.replace('|', "\\|"), value.replace('|', "\\|"));
            }
            text += "\n";
        }
        text += &match (config.objective, config.class_head) {
            (Objective::Masked, _) => MASKED.into(),
            (_, Some(head)) => classification(config, head) + &features(config),
            (_, None) => generation(config) + &features(config),
        };
        text += PICTURES;
        text
    }
}

const MASKED: &str = "## Use\n\nWith igpt only: transformers' ImageGPT always has a causal mask and would compute something \
else from these weights.\n";

const PICTURES: &str = "\nigpt scales the shorter side to the model's size and crops the centre; transformers' image processor \
resizes without a crop, which squeezes pictures that are not of the model's proportions. Images that have the model's size \
already give the same tokens in both.\n";

fn generation(config: &ModelConfig) -> String {
    let sos = config.n_vocab;
    format!(
        "## Use\n\n`igpt sample --model DIR`, or `ImageGPTForCausalImageModeling.from_pretrained(DIR)` in transformers. The input \
         is the token {sos} (sos) and then the image without its last pixel, so that position t scores pixel t.\n"
    )
}

/// What features are, for whoever reads hidden states.
fn features(config: &ModelConfig) -> String {
    let (sos, last) = (config.n_vocab, config.n_layer);
    format!(
        "\nFeatures of layer l (`igpt embed --model DIR`) are hidden states through ln_1, the mean over positions of \
         `transformer.h[l].ln_1(hidden_states[l])`; for l = {last} that of `hidden_states[{last}]`, which is ln_f's \
         output already. They are those of the shifted input: the token {sos} (sos) followed by the tokens but the last; \
         unshifted tokens give others.\n"
    )
}

fn classification(config: &ModelConfig, head: ClassHead) -> String {
    let (sos, classes, layer) = (config.n_vocab, head.num_labels, head.layer);
    let mut text = format!("## Use\n\n`igpt classify --model DIR FILE…` names one of {classes} classes.");
    if layer != config.n_layer {
        return text
            + &format!(
                " The classifier reads layer {layer} of {}; transformers always reads the last, so it can't use this one.\n",
                config.n_layer
            );
    }
    text += &format!(
        " The same in transformers:\n\n```python\nimport torch\nfrom PIL import Image\nfrom transformers import \
         ImageGPTForImageClassification, ImageGPTImageProcessor\n\nprocessor = ImageGPTImageProcessor.from_pretrained(\"DIR\")\n\
         model = ImageGPTForImageClassification.from_pretrained(\"DIR\")\n\
         tokens = processor(Image.open(\"FILE\"), return_tensors=\"pt\")[\"input_ids\"]\n\
         sos = torch.full((len(tokens), 1), {sos})\n\
         logits = model(torch.cat([sos, tokens[:, :-1]], 1)).logits\n\
         print(model.config.id2label[logits.argmax(1).item()])\n```\n\nThe network reads sos and then the image without its \
         last pixel, as in pretraining. `pipeline(\"image-classification\")` feeds the tokens unshifted and without sos, \
         which is not equivalent. The tensor lm_head.weight, which that class does not use, is the generative head.\n"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ImageSize;

    fn card(objective: Objective, class_layer: Option<usize>) -> String {
        let class_head = class_layer.map(|layer| ClassHead { num_labels: 3, layer });
        let config = ModelConfig::new(ImageSize::square(8), 5, 16, 2, 2);
        Card::default().to_markdown(&ModelConfig { objective, class_head, ..config })
    }

    #[test]
    fn whatever_transformers_can_read_says_of_which_input_its_features_are() {
        for class_layer in [None, Some(1), Some(2)] {
            let card = card(Objective::Autoregressive, class_layer);
            for part in [
                "mean over positions of `transformer.h[l].ln_1(hidden_states[l])`",
                "for l = 2 that of `hidden_states[2]`",
                "the token 5 (sos) followed by the tokens but the last",
            ] {
                assert!(card.contains(part), "{class_layer:?}: no {part} in {card}");
            }
        }
        // Its input is not shifted, and transformers would compute something else.
        assert!(!card(Objective::Masked, None).contains("hidden_states"));
    }
}
