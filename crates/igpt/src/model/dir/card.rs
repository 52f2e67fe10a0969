//! The model card: `README.md` of a model directory, as the Hugging Face hub shows it.

use crate::model::ModelConfig;

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
        let mut text = String::from(
            "---\nlibrary_name: transformers\npipeline_tag: unconditional-image-generation\ntags:\n- imagegpt\n- igpt\n---\n\n# Image GPT\n\n",
        );
        let size = config.n_px;
        text += &format!(
            "A transformer that predicts {size} images pixel by pixel in raster order (Chen et al., *Generative Pretraining From \
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
        let sos = config.n_vocab;
        text += &format!(
            "## Use\n\n`igpt sample --model DIR`, or `ImageGPTForCausalImageModeling.from_pretrained(DIR)` in transformers. The input \
             is the token {sos} (sos) and then the image without its last pixel, so that position t scores pixel t.\n\nigpt scales the \
             shorter side to the model's size and crops the centre; transformers' image processor resizes without a crop, \
             which squeezes pictures that are not of the model's proportions. Images that have the model's size already give the same \
             tokens in both.\n"
        );
        text
    }
}
