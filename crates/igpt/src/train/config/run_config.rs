//! What a run is: model, palette, data and training, as one TOML file with every default in one place.
//!
//! Unknown keys are errors, and [`RunConfig::validate`] reports every problem at once. `config.resolved.toml` in a
//! run directory is this struct with nothing left open, so that giving it back repeats the run.

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

/// A run's configuration: `[model]`, `[palette]`, `[data]`, `[train]`, and `[finetune]` where a classifier is trained.
/// The default is what an empty file means, and the bare command line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RunConfig {
    /// The network.
    #[serde(default)]
    pub model: ModelSettings,
    /// The colours.
    #[serde(default)]
    pub palette: PaletteSettings,
    /// The images.
    #[serde(default)]
    pub data: DataSettings,
    /// How to train.
    #[serde(default)]
    pub train: TrainSettings,
    /// How to train a classifier on top; none pretrains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finetune: Option<FinetuneSettings>,
    /// What was asked for explicitly, so that nothing of it is without effect in silence; in no file.
    #[serde(skip)]
    pub explicit: ExplicitSettings,
}

/// The network: a preset, of which single sizes may be changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ModelSettings {
    /// A named size; by default `nano`, or a network chosen by the budget where that is `minutes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// Width of the residual stream instead of the preset's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n_embd: Option<usize>,
    /// Number of blocks instead of the preset's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n_layer: Option<usize>,
    /// Attention heads instead of the preset's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n_head: Option<usize>,
    /// A model whose weights pretraining starts with, instead of fresh ones: a model directory or a run. Its network and
    /// size stay, and its palette unless another is asked for, whose colours then start as the nearest ones of the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<PathBuf>,
    /// Image side, or [height, width]. By default the images' own size if it is uniform and from 8 to 64, otherwise 32;
    /// chosen by the budget where that is `minutes`, and 16 for tiles.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "write_n_px", deserialize_with = "read_n_px")]
    pub n_px: Option<ImageSize>,
}

/// The colours: fitted on the training images, or read from a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PaletteSettings {
    /// How many colours to fit; by default 512, and 16 for grey images, or chosen by the budget where that is `minutes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub colors: Option<usize>,
    /// A palette to use as it is: `.npy`, `preprocessor_config.json`, model directory or run directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
}

/// The images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DataSettings {
    /// Name of a data set or a folder.
    pub spec: String,
    /// Where data sets are looked for and downloaded to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    /// Train on so many of the training images only, drawn by the seed: to see what more of them are worth. All by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_images: Option<usize>,
    /// Augmentation of the training images. By default chosen by their number, their size and the budget: none where they
    /// are seen a few times only.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "read_augment")]
    pub augment: Option<Augment>,
    /// Whether every other image is mirrored left to right. By default only where an augmentation is chosen for a data set
    /// whose images are known to mean the same then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flip: Option<bool>,
    /// Whether a resumed run may go on with other images than it was trained on. A decision of the moment, so it stands in
    /// no file.
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
    /// The configuration of pretraining by `recipe`, with nothing else said.
    pub fn of(recipe: Recipe) -> Self {
        recipe::alone(recipe).try_into().expect("a recipe's settings are those of a run")
    }

    /// Reads a TOML text on top of its recipe. The error names `path`, the line and the unknown or wrong key.
    pub fn from_toml(text: &str, path: &Path) -> Result<Self> {
        recipe::onto(Self::settings(text, path)?).try_into().map_err(|e| wrong(path, &e))
    }

    /// The settings of a TOML text alone, each with a value that it can have.
    pub(super) fn settings(text: &str, path: &Path) -> Result<Table> {
        let wrong = |e| wrong(path, &e);
        let written: Table = text.parse().map_err(wrong)?;
        let settings = migrate::today(written.clone()).map_err(|e| Error::format(path, e.to_string()))?;
        // Only what was written so has lines to name.
        match settings == written {
            true => toml::from_str::<Self>(text).map_err(wrong)?,
            false => settings.clone().try_into().map_err(wrong)?,
        };
        Ok(settings)
    }

    /// The config as TOML that [`RunConfig::from_toml`] reads back to an equal value.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a config of plain values has a TOML form")
    }

    /// The network for images of `n_px` and a palette of `n_vocab` colours.
    pub fn network(&self, n_px: ImageSize, n_vocab: usize) -> ModelConfig {
        let m = &self.model;
        let (n_embd, n_layer, n_head) = m.preset.unwrap_or(Preset::Nano).shape();
        let (n_embd, n_layer) = (m.n_embd.unwrap_or(n_embd), m.n_layer.unwrap_or(n_layer));
        let network = ModelConfig::new(n_px, n_vocab, n_embd, n_layer, m.n_head.unwrap_or(n_head));
        let mask_prob = self.train.mask_prob.unwrap_or(MASK_PROB);
        ModelConfig { objective: self.train.objective, mask_prob, ..network }
    }

    /// The model whose weights the run starts with, of pretraining or of fine-tuning.
    pub fn starts_from(&self) -> Option<&Path> {
        match &self.finetune {
            Some(finetune) => finetune.model.as_deref(),
            None => self.model.start.as_deref(),
        }
    }

    /// Step `step` (from 0) of the optimiser under `schedule`, for a network of width `n_embd`: [`TrainSettings::update`], and
    /// the classifier's own rate.
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
        // The objective of a model to fine-tune is known when it is open.
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

/// Reads an image size as flags write it: `28` or `8x12` (height × width).
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

/// `auto`, or the name of an augmentation.
fn read_augment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Augment>, D::Error> {
    let name = String::deserialize(deserializer)?;
    match name.as_str() {
        AUTO => Ok(None),
        name => name.parse().map(Some).map_err(serde::de::Error::custom),
    }
}

/// The name of the augmentation that the run chooses itself.
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
