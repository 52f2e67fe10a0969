//! The model card: `README.md` of a model directory, as the Hugging Face hub shows it.

mod recipe;

use std::path::Path;

use crate::model::{ModelConfig, Objective};

/// Contents of a model card beyond what the model's files say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelCard {
    /// Sentences on how the model was made: data, recipe, command.
    pub lines: Vec<String>,
    /// Measured figures: a name, and the value with its unit and split.
    pub figures: Vec<(String, String)>,
}

impl ModelCard {
    /// Returns a card's name for a data set of `--data`: for a path, its last part only. A card is published, and
    /// other people's folders are private.
    pub(crate) fn data_name(spec: &str) -> String {
        let path = Path::new(spec);
        match path.file_name() {
            Some(name) => name.to_string_lossy().into_owned(),
            None => "a folder".into(),
        }
    }

    /// Returns the Markdown text. `generates` says whether the generative head was trained.
    pub(super) fn to_markdown(&self, config: &ModelConfig, generates: bool) -> String {
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
        text + &recipe::usage(config, generates)
    }
}

#[cfg(test)]
mod tests;
