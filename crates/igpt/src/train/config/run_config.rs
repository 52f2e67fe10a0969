//! Configuration of a run: model, palette, data and training, as one TOML file with every default in one place.
//!
//! Unknown keys are errors, and [`RunConfig::validate`] reports every problem at once. `config.resolved.toml` in a run
//! directory is this struct with nothing left open: a run with this file as its config repeats the run.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::Table;

use crate::data::Augment;
use crate::device::Update;
use crate::image::ImageSize;
use crate::model::{LrMultipliers, MASK_PROB, ModelConfig, Objective, Preset};
use crate::train::config::explicit::ExplicitSettings;
use crate::train::config::finetune_section::FinetuneSettings;
use crate::train::config::migrate;
use crate::train::config::recipe::{self, Recipe};
use crate::train::config::schedule::Schedule;
use crate::train::config::train_section::TrainSettings;
use crate::{Error, Result};

/// Configuration of a run: `[model]`, `[palette]`, `[data]`, `[train]`, and `[finetune]` for a classifier.
///
/// The default is the config of an empty file, and of a command line without flags.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RunConfig {
    /// Settings of the network, `[model]`.
    #[serde(default)]
    pub model: ModelSettings,
    /// Settings of the palette, `[palette]`.
    #[serde(default)]
    pub palette: PaletteSettings,
    /// Settings of the images, `[data]`.
    #[serde(default)]
    pub data: DataSettings,
    /// Settings of training, `[train]`.
    #[serde(default)]
    pub train: TrainSettings,
    /// Settings of fine-tuning a classifier, `[finetune]`; `None` pretrains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finetune: Option<FinetuneSettings>,
    /// Settings that the user gave explicitly, so that none of them is silently without effect; not stored in files.
    #[serde(skip)]
    pub explicit: ExplicitSettings,
}

/// Settings of the network: a preset, single sizes of which may be changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ModelSettings {
    /// Preset, a named size; by default `nano`, or a network chosen by the budget if that is `minutes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// Width of the residual stream instead of the preset's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n_embd: Option<usize>,
    /// Number of blocks instead of the preset's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n_layer: Option<usize>,
    /// Number of attention heads instead of the preset's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n_head: Option<usize>,
    /// Path of a model directory or a run whose weights pretraining starts from, instead of fresh ones.
    ///
    /// The run keeps the model's network and image size, and its palette unless the config asks for another. Then each
    /// colour of the new palette starts as the model's nearest colour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<PathBuf>,
    /// Image side, or [height, width].
    ///
    /// By default it is the images' own size if that is uniform and from 8 to 64, otherwise 32. A budget of `minutes`
    /// chooses it. For tiles it is 16.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "write_n_px", deserialize_with = "read_n_px")]
    pub n_px: Option<ImageSize>,
}

/// Settings of the palette: fitted to the training images, or read from a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PaletteSettings {
    /// Number of colours to fit; by default 512, or 16 for grey images, or chosen by the budget if that is `minutes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub colors: Option<usize>,
    /// File with a palette to use unchanged: `.npy`, `preprocessor_config.json`, model directory or run directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
}

/// Settings of the images: data set, subset and augmentation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DataSettings {
    /// Name of a data set, or path of a folder.
    pub spec: String,
    /// Directory where data sets are looked for and downloaded to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    /// Number of training images to use, drawn by the seed, to measure what more images are worth; all by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_images: Option<usize>,
    /// Augmentation of the training images.
    ///
    /// By default it is chosen by their number, their size and the budget. Images that are seen only a few times get
    /// none.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "read_augment")]
    pub augment: Option<Augment>,
    /// Whether every other image is mirrored left to right.
    ///
    /// By default only if an augmentation is chosen for a data set whose images are known to mean the same when
    /// mirrored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flip: Option<bool>,
    /// Whether a resumed run may continue with other images than it was trained on.
    ///
    /// This decision applies to one start only, so no file stores it.
    #[serde(skip)]
    pub accept_other: bool,
}

impl Default for DataSettings {
    fn default() -> Self {
        Self { spec: "emoji".into(), dir: None, train_images: None, augment: None, flip: None, accept_other: false }
    }
}

impl DataSettings {
    /// Whether training images are augmented.
    pub fn augments(&self) -> bool {
        self.augment.is_some_and(|augment| augment != Augment::None) || self.flip == Some(true)
    }
}

impl Default for RunConfig {
    fn default() -> Self {
        Self::of(recipe::DEFAULT)
    }
}

impl Default for TrainSettings {
    fn default() -> Self {
        RunConfig::default().train
    }
}

impl RunConfig {
    /// Configuration of pretraining by `recipe`, with all other settings at their defaults.
    pub fn of(recipe: Recipe) -> Self {
        recipe::alone(recipe).try_into().expect("a recipe's settings are those of a run")
    }

    /// Reads a TOML text on top of its recipe.
    ///
    /// The error names `path`, the line and the unknown or wrong key.
    pub fn from_toml(text: &str, path: &Path) -> Result<Self> {
        recipe::onto(Self::settings(text, path)?).try_into().map_err(|e| wrong(path, &e))
    }

    /// Settings of a TOML text alone, each checked to have a possible value.
    pub(super) fn settings(text: &str, path: &Path) -> Result<Table> {
        let wrong = |e| wrong(path, &e);
        let written: Table = text.parse().map_err(wrong)?;
        let settings = migrate::today(written.clone()).map_err(|e| Error::format(path, e.to_string()))?;
        // Line numbers are only right if the text needed no migration.
        match settings == written {
            true => toml::from_str::<Self>(text).map_err(wrong)?,
            false => settings.clone().try_into().map_err(wrong)?,
        };
        Ok(settings)
    }

    /// Returns the config as TOML, which [`RunConfig::from_toml`] reads back to an equal value.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a config of plain values has a TOML form")
    }

    /// Network for images of `n_px` and a palette of `n_vocab` colours.
    pub fn network(&self, n_px: ImageSize, n_vocab: usize) -> ModelConfig {
        let m = &self.model;
        let (n_embd, n_layer, n_head) = m.preset.unwrap_or(Preset::Nano).shape();
        let (n_embd, n_layer) = (m.n_embd.unwrap_or(n_embd), m.n_layer.unwrap_or(n_layer));
        let network = ModelConfig::new(n_px, n_vocab, n_embd, n_layer, m.n_head.unwrap_or(n_head));
        let mask_prob = self.train.mask_prob.unwrap_or(MASK_PROB);
        ModelConfig { objective: self.train.objective, mask_prob, ..network }
    }

    /// Path of the model whose weights the run starts with, in pretraining or fine-tuning.
    pub fn starts_from(&self) -> Option<&Path> {
        match &self.finetune {
            Some(finetune) => finetune.model.as_deref(),
            None => self.model.start.as_deref(),
        }
    }

    /// Update of optimizer step `step` (from 0) under `schedule`, for a network of width `n_embd`.
    ///
    /// It is [`TrainSettings::update`] with the classifier's own learning rate.
    pub fn update(&self, schedule: &Schedule, step: u64, n_embd: usize) -> Update {
        let update = self.train.update(schedule, step, n_embd);
        let head = self.finetune.as_ref().map_or(1.0, |finetune| finetune.head_lr as f32);
        Update { rates: LrMultipliers { head, ..update.rates }, ..update }
    }

    /// Checks all values; the error lists every problem at once.
    pub fn validate(&self) -> Result<()> {
        let mut problems = Vec::new();
        let n_px = self.model.n_px.unwrap_or(ImageSize::square(32));
        if let Err(error) = self.network(n_px, self.palette.colors.unwrap_or(512)).validate() {
            problems.push(error.to_string());
        }
        if self.palette.colors.is_some() && self.palette.file.is_some() {
            problems.push("palette.colors and palette.file are both given: keep one".into());
        }
        self.check_limits(&mut problems);
        self.train.check(self.finetune.is_some(), &mut problems);
        // The objective of a model to fine-tune is known only when it is opened.
        let makes_network = self.finetune.as_ref().is_none_or(|finetune| finetune.model.is_none());
        if makes_network && self.train.mask_prob.is_some() && self.train.objective == Objective::Autoregressive {
            problems.push(
                "train.mask_prob is given, but train.objective is autoregressive and masks nothing: leave it out or set \
                 train.objective = \"masked\""
                    .into(),
            );
        }
        if let Some(finetune) = &self.finetune {
            finetune.check(&mut problems);
        }
        if problems.is_empty() { Ok(()) } else { Err(Error::Invalid(problems.join("; "))) }
    }
}

fn wrong(path: &Path, error: &toml::de::Error) -> Error {
    Error::format(path, error.to_string().trim_end())
}

/// Settings that decide how a run computes, not what: none of them changes a bit of the result.
pub(in crate::train) const WITHOUT_EFFECT: [&str; 4] =
    ["train.threads", "train.micro_batch", "train.recompute", "train.stream_weights"];

/// Parses an image size as flags write it: `28` or `8x12` (height × width).
pub fn parse_n_px(text: &str) -> Result<ImageSize> {
    let sides: Vec<Result<usize, _>> = text.split(['x', '×']).map(|s| s.trim().parse()).collect();
    match sides.as_slice() {
        [Ok(side)] => Ok(ImageSize::square(*side)),
        [Ok(height), Ok(width)] => Ok(ImageSize { height: *height, width: *width }),
        _ => Err(Error::Invalid(format!("n_px `{text}` is neither a side such as 28 nor HEIGHTxWIDTH such as 8x12"))),
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Sides {
    Square(usize),
    Both([usize; 2]),
}

fn write_n_px<S: Serializer>(n_px: &Option<ImageSize>, serializer: S) -> Result<S::Ok, S::Error> {
    let sides =
        n_px.map(|s| if s.height == s.width { Sides::Square(s.height) } else { Sides::Both([s.height, s.width]) });
    sides.serialize(serializer)
}

fn read_n_px<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ImageSize>, D::Error> {
    let sides = Sides::deserialize(deserializer)
        .map_err(|_| serde::de::Error::custom("n_px must be a side such as 28 or [height, width]"))?;
    Ok(Some(match sides {
        Sides::Square(side) => ImageSize::square(side),
        Sides::Both([height, width]) => ImageSize { height, width },
    }))
}

/// Reads `auto`, or the name of an augmentation.
fn read_augment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Augment>, D::Error> {
    let name = String::deserialize(deserializer)?;
    match name.as_str() {
        AUTO => Ok(None),
        name => name.parse().map(Some).map_err(serde::de::Error::custom),
    }
}

/// Value of `data.augment` with which the run chooses the augmentation itself.
pub const AUTO: &str = "auto";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::config::planned::StepPlan;

    fn read(text: &str) -> Result<RunConfig> {
        RunConfig::from_toml(text, std::path::Path::new("run.toml"))
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        for text in ["[train]\nlearning_rate = 1e-3\n", "[model]\nlayers = 3\n", "[optimiser]\n", "colors = 3\n"] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains("run.toml") && message.contains("unknown field"), "{message}");
        }
    }

    #[test]
    fn validate_reports_every_problem_at_once() {
        let text = "[model]\nn_embd = 100\nn_head = 3\nn_px = [4, 12]\n[palette]\ncolors = 1\nfile = \"p.npy\"\n\
                    [train]\nsteps = 5\nminutes = -1.0\nbatch = 6\ngradient_groups = 4\nlr = nan\nbeta2 = 1.0\nkeep_last = 0\n";
        let message = read(text).unwrap().validate().unwrap_err().to_string();
        for part in [
            "n_embd 100 is not divisible by n_head 3",
            "height is 4",
            "n_vocab is 1",
            "palette.colors and palette.file",
            "train.steps and train.minutes are given",
            "train.minutes is -1",
            "train.batch 6 is not divisible by train.gradient_groups 4",
            "train.lr is NaN",
            "train.beta2 is 1",
            "train.keep_last",
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }

    #[test]
    fn a_config_survives_being_written_and_read() {
        let mut config = RunConfig::of(Recipe::Paper);
        config.model.n_px = Some(ImageSize { height: 8, width: 12 });
        config.model.preset = Some(Preset::Xs);
        config.train.minutes = Some(0.5);
        config.train.plan = vec![StepPlan { from_step: 4, steps: 100 }, StepPlan { from_step: 50, steps: 90 }];
        config.validate().unwrap();
        assert_eq!(read(&config.to_toml()).unwrap(), config);
    }

    #[test]
    fn the_classifiers_rate_is_a_multiple_of_the_networks() {
        let schedule =
            Schedule { lr: 1.0, decay: crate::train::Decay::Constant, warmup: 0, plans: Vec::new(), ended: Vec::new() };
        let mut config = read("[finetune]\nhead_lr = 4.0\n[train]\nlayer_decay = 0.5\n").unwrap();
        assert_eq!(config.update(&schedule, 0, 96).rates, LrMultipliers { layer_decay: 0.5, width: 1.0, head: 4.0 });
        config.finetune = None;
        assert_eq!(config.update(&schedule, 0, 96), config.train.update(&schedule, 0, 96));
    }

    #[test]
    fn numbers_of_fine_tuning_that_can_not_be_are_refused_by_name() {
        for (text, part) in [
            ("head_lr = 0.0", "finetune.head_lr is 0, but must be above 0"),
            ("label_smoothing = 1.0", "finetune.label_smoothing is 1, but must be from 0 to below 1"),
            ("label_smoothing = 0.9999999999", "which is 1 as a 32-bit number"),
            ("generative_weight = -1.0", "finetune.generative_weight is -1, but must be at least 0"),
        ] {
            let message = read(&format!("[finetune]\n{text}\n")).unwrap().validate().unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn n_px_reads_a_side_or_two() {
        assert_eq!(parse_n_px("28").unwrap(), ImageSize::square(28));
        assert_eq!(parse_n_px("8x12").unwrap(), ImageSize { height: 8, width: 12 });
        assert!(parse_n_px("8x").is_err() && parse_n_px("a").is_err() && parse_n_px("1x2x3").is_err());
        assert!(read("[model]\nn_px = \"big\"\n").unwrap_err().to_string().contains("n_px must be"));
    }
}
