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
    pub(super) fn to_markdown(&self, config: &ModelConfig, channels: usize) -> String {
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
        text += "## Use\n\n";
        text += &match (config.objective, config.class_head) {
            (Objective::Masked, Some(_)) => format!("`igpt classify --model DIR FILE…` names classes. {MASKED}"),
            (Objective::Masked, None) => format!("`igpt complete --model DIR` fills holes. {MASKED}"),
            (_, Some(head)) => classification(config, head),
            (_, None) => GENERATION.into(),
        };
        text += &recipe(config, channels);
        text
    }
}

impl Card {
    /// What a card calls the data or model that `spec` names: of a path its last part, so that no card tells where the
    /// files of a machine lie.
    pub fn source(spec: &str) -> String {
        let last = spec.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next();
        last.filter(|last| !last.is_empty()).unwrap_or("a folder").into()
    }
}

const MASKED: &str = "transformers can't compute this network: its ImageGPT always has a causal mask. What follows reads \
pictures as the network does and shows tokens.\n";

const GENERATION: &str = "`igpt sample --model DIR` draws pictures and `igpt eval` scores them. The same in transformers, run \
in this folder beside a `picture.png`:\n";

fn classification(config: &ModelConfig, head: ClassHead) -> String {
    let (classes, layer, last) = (head.num_labels, head.layer, config.n_layer);
    let mut text = format!("`igpt classify --model DIR FILE…` names one of {classes} classes.");
    if layer != last {
        text += &format!(
            " The classifier reads layer {layer} of {last}; transformers' own class for it always reads the last, which \
             would give others."
        );
    }
    text + " `ImageGPTForImageClassification` opens this folder and must be fed like the model below; \
            `pipeline(\"image-classification\")` feeds the tokens unshifted and without sos, which is not equivalent. The same \
            as igpt in transformers, run in this folder beside a `picture.png`:\n"
}

/// Runnable Python for the folder of the model: a picture's tokens, what the network makes of them, and pictures of tokens.
fn recipe(config: &ModelConfig, channels: usize) -> String {
    let causal = config.objective == Objective::Autoregressive;
    let mut python = IMPORTS.replace("IMPORTS", if causal { "import torch\n" } else { "" });
    if causal {
        python = python.replace("from PIL import Image, ImageOps\n", FROM_TRANSFORMERS);
    }
    python += &READING.replace("MODE", if channels == 1 { "L" } else { "RGB" });
    if causal {
        python += &NETWORK.replace("SOS_TOKEN", &config.n_vocab.to_string());
        if let Some(head) = config.class_head {
            python += &CLASSES.replace("CLASS_LAYER", &head.layer.to_string());
        }
        python += DRAWING;
    } else {
        python += "\npicture(tokens(Image.open(\"picture.png\"))).save(\"as_tokens.png\")\n";
    }
    let (sos, last) = (config.n_vocab, config.n_layer);
    let input = match causal {
        true => format!(
            "\nThe network reads the token {sos} (sos) followed by the tokens but the last, so that position t scores token t. \
             Features of layer l (`igpt embed`) are the mean over positions of `transformer.h[l].ln_1(hidden_states[l])`; \
             for l = {last} that of `hidden_states[{last}]`, which is ln_f's output already. Unshifted tokens give others.\n"
        ),
        false => String::new(),
    };
    format!("\n```python\n{python}```\n{input}{PICTURES}")
}

const PICTURES: &str = "\nTransparency is laid on white. Of a picture that is not of the model's proportions the centre is cut \
out before it is scaled; transformers' own image processor squeezes it instead. Pictures of the model's size give the same \
tokens in both.\n";

const IMPORTS: &str = "import json

import numpy as np
IMPORTSfrom PIL import Image, ImageOps

settings = json.load(open(\"preprocessor_config.json\"))
clusters = np.array(settings[\"clusters\"], np.float32)
height, width = settings[\"size\"][\"height\"], settings[\"size\"][\"width\"]

";

const FROM_TRANSFORMERS: &str = "from PIL import Image, ImageOps
from transformers import ImageGPTForCausalImageModeling
";

const READING: &str = "
def tokens(image):
    image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        rgba = np.array(image.convert(\"RGBA\"), np.uint32)
        opacity = rgba[:, :, 3:]
        on_white = (rgba[:, :, :3] * opacity + 255 * (255 - opacity) + 127) // 255
        image = Image.fromarray(on_white.astype(np.uint8))
    image = image.convert(\"RGB\").convert(\"MODE\")
    if image.size != (width, height):
        assert settings[\"do_resize\"], f\"the model reads pictures of {width}x{height} only\"
        # The largest centred part of the model's proportions.
        w, h = image.size
        if w * height >= h * width:
            w = min(max((2 * h * width + height) // (2 * height), 1), w)
        else:
            h = min(max((2 * w * height + width) // (2 * width), 1), h)
        left, top = (image.width - w) // 2, (image.height - h) // 2
        image = image.crop((left, top, left + w, top + h)).resize((width, height), settings[\"resample\"])
    pixels = np.array(image.convert(\"RGB\"), np.float32).reshape(-1, 3) / np.float32(127.5) - 1
    return np.array([np.square(pixel - clusters).sum(1).argmin() for pixel in pixels])


def picture(tokens):
    colours = np.rint((clusters + 1) * 127.5).clip(0, 255).astype(np.uint8)
    return Image.fromarray(colours[np.array(tokens)].reshape(height, width, 3))

";

const NETWORK: &str = "
model = ImageGPTForCausalImageModeling.from_pretrained(\".\", dtype=torch.float32).eval()
SOS = SOS_TOKEN
ids = torch.from_numpy(tokens(Image.open(\"picture.png\")))[None]
shifted = torch.cat([torch.full((1, 1), SOS), ids[:, :-1]], 1)
with torch.no_grad():
    out = model(input_ids=shifted, output_hidden_states=True)
    normed = [block.ln_1(h) for block, h in zip(model.transformer.h, out.hidden_states)] + [out.hidden_states[-1]]
features = torch.stack([n.mean(1) for n in normed], 1)  # (images, layers, width)
nats = torch.nn.functional.cross_entropy(out.logits.transpose(1, 2), ids, reduction=\"none\")
print(f\"{nats.mean():.4f} nats a pixel\")
";

const CLASSES: &str = "
from safetensors.torch import load_file

score = load_file(\"model.safetensors\")[\"score.weight\"].float()
class_logits = features[:, CLASS_LAYER] @ score.T
print(model.config.id2label[class_logits.argmax(1).item()])
";

const DRAWING: &str = "
drawn = model.generate(torch.full((1, 1), SOS), do_sample=True, top_k=0, max_length=height * width + 1)[0, 1:]
picture(drawn).save(\"drawn.png\")
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ImageSize;

    fn card(objective: Objective, class_layer: Option<usize>) -> String {
        let class_head = class_layer.map(|layer| ClassHead { num_labels: 3, layer });
        let config = ModelConfig::new(ImageSize::square(8), 5, 16, 2, 2);
        Card::default().to_markdown(&ModelConfig { objective, class_head, ..config }, 3)
    }

    #[test]
    fn whatever_transformers_can_compute_is_in_the_recipe() {
        for class_layer in [None, Some(1), Some(2)] {
            let card = card(Objective::Autoregressive, class_layer);
            for part in [
                "mean over positions of `transformer.h[l].ln_1(hidden_states[l])`",
                "for l = 2 that of `hidden_states[2]`",
                "the token 5 (sos) followed by the tokens but the last",
                "SOS = 5\n",
                "opacity + 255 * (255 - opacity)",
                "picture(drawn).save",
            ] {
                assert!(card.contains(part), "{class_layer:?}: no {part} in {card}");
            }
            let classes = format!("features[:, {}] @ score.T", class_layer.unwrap_or(0));
            assert_eq!(card.contains(&classes), class_layer.is_some(), "{card}");
        }
        // transformers would compute something else, but pictures become tokens alike.
        let masked = card(Objective::Masked, None);
        assert!(!masked.contains("hidden_states") && masked.contains("def tokens(image)"), "{masked}");
        for card in [masked, card(Objective::Autoregressive, Some(2))] {
            assert_eq!(card.matches("```").count(), 2, "{card}");
            assert!(!card.contains("MODE") && !card.contains("IMPORTS") && !card.contains("SOS_TOKEN"), "{card}");
        }
    }

    #[test]
    fn a_card_does_not_tell_where_files_lie() {
        for (spec, shown) in [
            ("emoji", "emoji"),
            ("/home/ada/cats/", "cats"),
            ("../cats", "cats"),
            ("C:\\ada\\cats", "cats"),
            ("/", "a folder"),
        ] {
            assert_eq!(Card::source(spec), shown);
        }
    }
}
