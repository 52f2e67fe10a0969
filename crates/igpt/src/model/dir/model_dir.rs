//! A finished model, opened from a model directory and saved as one.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::card::ModelCard;
use super::json::read_json;
use super::settings;
use super::weights::{self, Catalogue, SaveType};
use crate::files::Unfinished;
use crate::image::{ImageSize, Resampling};
use crate::model::{ModelConfig, ParamLayout};
use crate::palette::Palette;
use crate::{Error, Result, files};

/// Finished model: everything that a model directory holds.
#[derive(Clone, Debug)]
pub struct ModelDir {
    /// Configuration of the network.
    pub config: ModelConfig,
    /// Palette that maps tokens to colours.
    pub palette: Palette,
    /// Weights in the order of `ParamLayout::new(&config)`.
    pub weights: Vec<f32>,
    /// Keys of `config.json` that igpt doesn't use; they are saved again as they are.
    pub extra: Map<String, Value>,
}

impl ModelDir {
    /// Opens a model directory, or the one inside a run directory (`RUN/model`).
    ///
    /// # Errors
    /// When something is missing, damaged, contradictory or not implemented; the message names the file and the
    /// setting or tensor.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let dir = Self::locate(path.as_ref())?;
        let (mut config, palette, extra) = read_settings(&dir)?;
        let catalogue = Catalogue::open(&dir)?;
        if let Some(recorded) = &catalogue.palette_hash
            && *recorded != palette.hash()
        {
            return Err(Error::Mismatch(format!(
                "the weights in {} were trained with palette {recorded}, but its preprocessor_config.json holds palette {}: \
                 put the palette back that belongs to the model",
                dir.display(),
                palette.hash()
            )));
        }
        let weights = catalogue.load(&mut config)?;
        Ok(Self { config, palette, weights, extra })
    }

    /// Returns the model directory that `path` stands for: `path` itself, or `path/model` for a run directory.
    ///
    /// # Errors
    /// When neither has a `config.json`.
    pub fn locate(path: &Path) -> Result<PathBuf> {
        let inner = path.join("model");
        if path.join("config.json").is_file() {
            Ok(path.into())
        } else if inner.join("config.json").is_file() {
            Ok(inner)
        } else if !path.exists() {
            Err(Error::NotFound(match hub_name(path) {
                Some((name, folder)) => format!(
                    "{name} does not exist here: if it is a model of the Hugging Face hub, fetch its config.json, \
                     preprocessor_config.json and model.safetensors or pytorch_model.bin by huggingface-cli download {name} \
                     --local-dir {folder}, and give {folder} as the model"
                ),
                None => format!("{} does not exist: give a model directory or a run directory", path.display()),
            }))
        } else {
            Err(Error::NotFound(format!(
                "no config.json in {} or in its model/: give a model directory, or make one with igpt pretrain",
                path.display()
            )))
        }
    }

    /// Whether the output matrix of the generative head was trained, so that the model is more than a classifier.
    pub(crate) fn generates(&self) -> bool {
        let layout = ParamLayout::new(&self.config);
        let zero = layout
            .tensor(weights::GENERATIVE_HEAD)
            .is_some_and(|head| self.weights[head.range()].iter().all(|v| *v == 0.0));
        self.config.class_head.is_none() || !zero
    }

    /// Refuses a classifier that can't generate, under the name `name`.
    ///
    /// transformers saves no `lm_head` with a classifier. Training on classes alone from scratch leaves it at zero,
    /// where every colour is equally likely.
    ///
    /// # Errors
    /// When the output matrix of a classifier is zero.
    pub fn expect_generative(&self, name: &str) -> Result<()> {
        if self.generates() {
            return Ok(());
        }
        Err(Error::Invalid(format!(
            "{name} is a classifier whose generative head was never trained: it can classify and be probed, but neither \
             draw nor say how likely an image is; igpt finetune with a --generative-weight above 0 trains one that does both"
        )))
    }

    /// Names of the classifier's classes, in order; empty without a classifier.
    pub fn classes(&self) -> Vec<String> {
        let names = self.extra.get("id2label").and_then(Value::as_object);
        let name = |id: usize| match names.and_then(|names| names.get(&id.to_string())).and_then(Value::as_str) {
            Some(name) => name.into(),
            None => format!("LABEL_{id}"),
        };
        (0..self.config.class_head.map_or(0, |head| head.num_labels)).map(name).collect()
    }

    /// Reads the names of the classes from the `config.json` of the model directory `dir`; `None` without a
    /// classifier.
    pub(crate) fn class_names(dir: &Path) -> Option<Vec<String>> {
        let config = read_json(&dir.join("config.json")).ok()?;
        let names = config.get("id2label")?.as_object()?;
        (0..names.len()).map(|id| Some(names.get(&id.to_string())?.as_str()?.to_owned())).collect()
    }

    /// Sets the names of the classifier's classes, as transformers does.
    pub fn set_classes(&mut self, names: &[String]) {
        let id2label: Map<_, _> = names.iter().enumerate().map(|(id, name)| (id.to_string(), json!(name))).collect();
        let label2id: Map<_, _> = names.iter().enumerate().map(|(id, name)| (name.clone(), json!(id))).collect();
        self.extra.insert("id2label".into(), Value::Object(id2label));
        self.extra.insert("label2id".into(), Value::Object(label2id));
    }

    /// Divides the logits of the classes by `temperature`, by scaling the classifier's matrix.
    ///
    /// The likeliest class stays the same, but its probability changes in every program that opens the model.
    pub fn scale_class_temperature(&mut self, temperature: f64) {
        if let Some(score) = ParamLayout::new(&self.config).tensor("score.weight") {
            self.weights[score.range()].iter_mut().for_each(|weight| *weight = (*weight as f64 / temperature) as f32);
        }
    }

    /// Writes the model directory with the model card `card` and with weights in `dtype`.
    ///
    /// The directory is written beside `path` first and then moved, so that an interruption never leaves half a model
    /// under its name. An existing model is replaced file by file, weights last.
    pub fn save(&self, path: impl AsRef<Path>, card: &ModelCard, dtype: SaveType) -> Result<()> {
        let path = path.as_ref();
        if self.palette.n_vocab() != self.config.n_vocab {
            return Err(Error::Mismatch(format!(
                "a palette of {} colours doesn't fit a model of {}",
                self.palette.n_vocab(),
                self.config.n_vocab
            )));
        }
        let name =
            path.file_name().ok_or_else(|| Error::Invalid(format!("{} is not a directory's name", path.display())))?;
        let temp = path.with_file_name(format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id()));
        let temp = Unfinished::at(temp);
        self.write_into(temp.path(), card, dtype)?;
        replace(temp.path(), path)?;
        temp.keep();
        Ok(())
    }

    fn write_into(&self, dir: &Path, card: &ModelCard, dtype: SaveType) -> Result<()> {
        fs::create_dir_all(dir).map_err(Error::io(dir))?;
        let processor = self.palette.to_preprocessor(Some(self.config.n_px));
        // Sampling as in the paper: temperature 1 and nothing cut off; sos, then one token per pixel.
        let generation = json!({
            "do_sample": true,
            "temperature": 1.0,
            "top_k": 0,
            "bos_token_id": self.config.n_vocab,
            "max_length": self.config.n_ctx() + 1,
        });
        let config = settings::to_json(&self.config, &self.extra, dtype.torch());
        let mut texts = vec![("README.md", card.to_markdown(&self.config, self.generates()))];
        for (name, value) in
            [("config.json", config), ("preprocessor_config.json", processor), ("generation_config.json", generation)]
        {
            texts.push((name, format!("{value:#}\n")));
        }
        for (name, text) in texts {
            let file = dir.join(name);
            files::write(&file, text.as_bytes())?;
        }
        weights::write(&dir.join(WEIGHTS), &self.config, &self.weights, &self.palette.hash(), dtype)?;
        for name in FILES {
            let file = dir.join(name);
            File::open(&file).and_then(|f| f.sync_all()).map_err(Error::io(&file))?;
        }
        Ok(())
    }
}

/// Splits a path that may be a name on the Hugging Face hub, `ORG/NAME`: returns the name, and the folder to put the
/// model into.
fn hub_name(path: &Path) -> Option<(&str, &str)> {
    let name = path.to_str()?;
    let (org, folder) = name.split_once('/')?;
    let plain = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    // If the folder exists, this is a mistyped path, not a hub name.
    (plain(org) && plain(folder) && !Path::new(org).exists()).then_some((name, folder))
}

/// Name of the file in a model directory that records results of transformers, for parity checks.
pub const PARITY_RECORDING: &str = "parity.safetensors";

/// Name of the file in a model directory that holds what `igpt inspect` fitted on good pictures.
pub(crate) const INSPECTION: &str = "inspect.json";

/// Whether `name` is that of a file of tensors that belongs to [`INSPECTION`].
pub(crate) fn is_inspection(name: &str) -> bool {
    let digits = name.strip_prefix("inspect-").and_then(|rest| rest.strip_suffix(".safetensors"));
    digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

pub(super) const WEIGHTS: &str = "model.safetensors";
/// Files that `save` writes, weights last.
pub(super) const FILES: [&str; 5] =
    ["README.md", "config.json", "preprocessor_config.json", "generation_config.json", WEIGHTS];

/// Moves the finished directory `temp` to `path`.
fn replace(temp: &Path, path: &Path) -> Result<()> {
    if !path.exists() {
        return fs::rename(temp, path).map_err(Error::io(path));
    }
    // The recording and the inspection fit belong to the model that was here before, not to the new one.
    files::remove(&path.join(PARITY_RECORDING))?;
    if path.join(INSPECTION).exists() {
        tracing::warn!(
            "{}: the fit of igpt inspect is removed, since it is of the model that was here before: run igpt inspect fit \
             --model {} --data GOOD again",
            path.display(),
            path.display()
        );
    }
    files::remove(&path.join(INSPECTION))?;
    for entry in fs::read_dir(path).map_err(Error::io(path))?.flatten() {
        if entry.file_name().to_str().is_some_and(is_inspection) {
            files::remove(&entry.path())?;
        }
    }
    for name in FILES {
        fs::rename(temp.join(name), path.join(name)).map_err(Error::io(path.join(name)))?;
    }
    fs::remove_dir(temp).map_err(Error::io(temp))
}

/// Reads everything but the weights. `config.biases` is not known yet.
fn read_settings(dir: &Path) -> Result<(ModelConfig, Palette, Map<String, Value>)> {
    let (config, processor) = (dir.join("config.json"), dir.join("preprocessor_config.json"));
    if !processor.exists() {
        return Err(Error::NotFound(format!(
            "no preprocessor_config.json in {}: it holds the palette and the image size, copy it from the model's source",
            dir.display()
        )));
    }
    fit_settings((read_json(&config)?, &config), (read_json(&processor)?, &processor))
}

/// Combines `config.json` and `preprocessor_config.json`; the paths are for error messages.
pub(super) fn fit_settings(
    (config, config_path): (Value, &Path),
    (processor, path): (Value, &Path),
) -> Result<(ModelConfig, Palette, Map<String, Value>)> {
    let Value::Object(map) = config else {
        return Err(Error::format(config_path, "not a JSON object of settings"));
    };
    let settings = settings::parse(map, config_path)?;
    let mut config = settings.config;
    let palette = Palette::from_preprocessor(&processor).map_err(|e| Error::format(path, e.to_string()))?;
    if ![Resampling::default(), Resampling::Crop].contains(&palette.resampling()) {
        tracing::warn!(
            "{}: pictures are scaled {} as resample and do_resize say, but cut to the model's proportions first, where \
             transformers squeezes them",
            path.display(),
            palette.resampling()
        );
    }
    if palette.n_vocab() != config.n_vocab {
        let (colors, vocab_size) = (palette.n_vocab(), config.n_vocab + 1);
        return Err(Error::format(path, format!("{colors} colours, but config.json has vocab_size {vocab_size}")));
    }
    let size = image_size(&processor)
        .ok_or_else(|| Error::format(path, "no size with height and width: the model's image size is not known"))?;
    let n_positions = config.n_ctx();
    if size.height.checked_mul(size.width) != Some(n_positions) {
        return Err(Error::format(path, format!("size {size} doesn't make config.json's n_positions {n_positions}")));
    }
    config.n_px = size;
    config.validate().map_err(|e| Error::format(config_path, e.to_string()))?;
    Ok((config, palette, settings.extra))
}

/// Reads `size` as transformers writes it now ({height, width}) or wrote it once (a side).
pub(super) fn image_size(processor: &Value) -> Option<ImageSize> {
    let side = |v: &Value| v.as_u64().and_then(|v| usize::try_from(v).ok());
    let size = processor.get("size")?;
    match side(size) {
        Some(n_px) => Some(ImageSize::square(n_px)),
        None => Some(ImageSize { height: side(size.get("height")?)?, width: side(size.get("width")?)? }),
    }
}
