//! The flags of every verb that trains.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use igpt::data::Augment;
use igpt::device::{Device, Optimizer, Precision};
use igpt::image::ImageSize;
use igpt::model::{Objective, Preset};
use igpt::train::{self, ExplicitSettings, Keep, Overrides, Recipe, RunConfig, RunDir, Start, Value};
use igpt::{Error, Result};

use crate::named::named;

/// A run: its settings, and where it lies.
#[derive(clap::Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
    /// Run directory
    #[arg(long, value_name = "RUN")]
    pub(crate) out: PathBuf,
    /// Go on with the run in --out
    #[arg(long, conflicts_with = "overwrite")]
    pub(crate) resume: bool,
    /// Replace the run in --out
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Go on even where the images are not those that the run began with: renamed, moved, replaced, or of another --data
    #[arg(long, requires = "resume")]
    pub(crate) accept_other_data: bool,
}

/// A run's data, network, budget and settings.
#[derive(clap::Args)]
pub(crate) struct SettingsArgs {
    /// Images: emoji (the default), fashion-mnist, mnist, cifar10, cifar100, stl10, a folder of pictures, or one of
    /// tokens (igpt data tokenize)
    #[arg(long, value_name = "SPEC")]
    pub(crate) data: Option<String>,
    /// Where data sets are looked for and downloaded to
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Size of the network; by default nano, with --minutes one that suits the budget
    #[arg(long, value_parser = named(&Preset::ALL, Preset::name))]
    pub(crate) preset: Option<Preset>,
    /// Image side, or HEIGHTxWIDTH; by default the images' own size where that is possible, otherwise 32; with --minutes
    /// one that suits the budget, and 16 for --augment tiles
    #[arg(long, value_name = "SIDE", value_parser = train::parse_n_px)]
    pub(crate) n_px: Option<ImageSize>,
    /// Colours of the palette to fit; 512 by default, 16 for grey images; with --minutes as many as suit the budget
    #[arg(long, value_name = "N")]
    pub(crate) colors: Option<usize>,
    /// A palette to use instead: .npy, preprocessor_config.json, model directory or run directory
    #[arg(long, value_name = "FILE", conflicts_with = "colors")]
    pub(crate) palette: Option<PathBuf>,
    /// Budget in optimiser steps
    #[arg(long, value_name = "N", conflicts_with_all = ["epochs", "minutes"])]
    pub(crate) steps: Option<u64>,
    /// Budget in passes over the training images
    #[arg(long, value_name = "E", conflicts_with = "minutes")]
    pub(crate) epochs: Option<f64>,
    /// Budget in minutes
    #[arg(long, value_name = "M")]
    pub(crate) minutes: Option<f64>,
    /// Settings below all others: modern (the default; most learned in the time) or paper (as Chen et al. 2020
    /// trained); takes the rates of another recipe that --config names away
    #[arg(long, value_parser = named(&Recipe::ALL, Recipe::name))]
    pub(crate) recipe: Option<Recipe>,
    /// What is predicted: the next pixel (autoregressive, the default), or masked ones (masked)
    #[arg(long, value_parser = named(&Objective::ALL, Objective::name))]
    pub(crate) objective: Option<Objective>,
    /// Images of a step, 0 for about 4096 tokens; 0 by default, 128 in the paper; 8 where --minutes chooses the network and
    /// the run is short
    #[arg(long, value_name = "N")]
    pub(crate) batch: Option<usize>,
    /// What updates the weights: adam, or muon for the hidden matrices with Adam for the rest; adam in the paper
    #[arg(long, value_parser = named(&Optimizer::ALL, Optimizer::name))]
    pub(crate) optimizer: Option<Optimizer>,
    /// Peak learning rate of Adam; 0.0015 by default, 0.003 in the paper and where --minutes chooses the network and the run
    /// is short
    #[arg(long, value_name = "LR")]
    pub(crate) lr: Option<f64>,
    /// Peak learning rate of Muon; 0.01 by default, 0.02 where --minutes chooses the network and the run is short
    #[arg(long, value_name = "LR")]
    pub(crate) muon_lr: Option<f64>,
    /// Augmentation of the training images; auto, the default, goes by their number, their size and the budget. shift moves
    /// them by a pixel or two, crop takes 80 to 100 % of them, imagenet 58 to 88 %, cifar (or crop-flip) shifts them by up
    /// to 4 pixels and flips them, tiles cuts tiles out of large pictures at their own resolution
    #[arg(long, value_parser = PossibleValuesParser::new(std::iter::once(train::AUTO).chain(Augment::NAMES)))]
    pub(crate) augment: Option<String>,
    /// Mirror every other training image left to right (horizontal flip); --flip false never does. By default only where
    /// the images of a known data set mean the same then, and they are augmented: digits, letters and signs must not be
    /// flipped
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) flip: Option<bool>,
    /// Weights of the finished model: those of the lowest validation loss (best, the default; of a classifier always
    /// those of the highest validation accuracy) or of the last step (last)
    #[arg(long, value_parser = named(&Keep::ALL, Keep::name))]
    pub(crate) keep: Option<Keep>,
    /// End training early after so many validations in a row without a better one; 0 never does. By default a quarter of
    /// the run's, at least 5, and 0 with --keep last; of a classifier 0, and 10 in the paper's recipe
    #[arg(long, value_name = "N")]
    pub(crate) patience: Option<u64>,
    /// Where to compute: auto (the quickest that is there, the default), cpu, cuda or cuda:1
    #[arg(long, value_name = "DEVICE", env = "IGPT_DEVICE")]
    pub(crate) device: Option<Device>,
    /// Number format of the matrix products; by default the quicker one on this processor: bf16 where it has AVX-512
    /// with bf16, otherwise f32
    #[arg(long, value_parser = named(&Precision::ALL, Precision::name))]
    pub(crate) precision: Option<Precision>,
    /// Threads to compute with; 0, the default, is one for each available core
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Seed of everything random; 0 by default
    #[arg(long, value_name = "S")]
    pub(crate) seed: Option<u64>,
    /// Settings in TOML, such as another run's config.resolved.toml
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// One setting, such as train.lr=1e-3; may be given several times
    #[arg(long, value_name = "A.B=V")]
    pub(crate) set: Vec<String>,
}

impl RunArgs {
    /// What to do about a run that is there already.
    pub(crate) fn start(&self) -> Start {
        match (self.resume, self.overwrite) {
            (true, _) => Start::Resume,
            (_, true) => Start::Overwrite,
            _ => Start::New,
        }
    }

    /// The settings on top of the `lowest`: the run to resume, --config, flags, --set.
    pub(crate) fn layers(&self, lowest: Overrides) -> Result<Overrides> {
        if !self.resume {
            return self.settings.layers(lowest);
        }
        let run = RunDir::open_readonly(&self.out).map_err(|_| {
            Error::NotFound(format!("no run to resume in {}: start one without --resume", self.out.display()))
        })?;
        let mut layers = run.settings()?;
        self.settings.onto(&mut layers)?;
        Ok(lowest.merge_under(layers))
    }

    /// The finished config of these layers, with what was asked for, in flags that are not of the settings too (`beside`).
    pub(crate) fn finish(&self, layers: Overrides, beside: Overrides) -> Result<RunConfig> {
        let mut config = layers.finish()?;
        let mut given = self.settings.given()?;
        given.all = given.all.merge_under(beside.clone());
        given.from_flags = given.from_flags.merge_under(beside);
        (config.explicit, config.data.accept_other) = (given, self.accept_other_data);
        Ok(config)
    }
}

impl SettingsArgs {
    /// The settings of a new run on top of the `lowest`: --config, flags, --set.
    pub(crate) fn layers(&self, lowest: Overrides) -> Result<Overrides> {
        let mut layers = Overrides::default();
        self.onto(&mut layers)?;
        self.drop_other_budget(&mut layers)?;
        lowest.merge_under(layers).with_quickest_precision()
    }

    /// Takes away what belongs to the budget of --config, a run's plans and the phases that it had before it was extended,
    /// where flags or --set give another.
    fn drop_other_budget(&self, layers: &mut Overrides) -> Result<()> {
        let mut said = Overrides::default();
        self.said_onto(&mut said)?;
        if ["train.steps", "train.epochs", "train.minutes"].iter().any(|key| said.get(key).is_some()) {
            ["train.phases", "train.plan"]
                .iter()
                .filter(|key| said.get(key).is_none())
                .for_each(|key| layers.remove(key));
        }
        Ok(())
    }

    /// What is asked for by --config, flags and --set.
    fn given(&self) -> Result<ExplicitSettings> {
        let mut given = ExplicitSettings::default();
        self.onto(&mut given.all)?;
        self.said_onto(&mut given.from_flags)?;
        Ok(given)
    }

    /// Puts --config, flags and --set onto `layers`.
    fn onto(&self, layers: &mut Overrides) -> Result<()> {
        if let Some(path) = &self.config {
            layers.file(path)?;
        }
        self.said_onto(layers)
    }

    /// Puts flags and --set onto `layers`.
    fn said_onto(&self, layers: &mut Overrides) -> Result<()> {
        let args = self;
        if let Some(recipe) = args.recipe {
            layers.recipe(recipe.name());
        }
        let path = |path: &PathBuf| path.to_string_lossy().into_owned();
        let (n_px, colors) = (args.n_px, args.colors);
        let n_px = n_px.map(|n| Ok::<_, Error>(vec![integer("--n-px", n.height)?, integer("--n-px", n.width)?].into()));
        let flags: [(&str, Option<Value>); 21] = [
            ("data.spec", args.data.clone().map(Into::into)),
            ("data.dir", args.data_dir.as_ref().map(|p| path(p).into())),
            ("data.augment", args.augment.clone().map(Into::into)),
            ("data.flip", args.flip.map(Into::into)),
            ("train.keep", args.keep.map(|keep| keep.name().into())),
            ("train.patience", args.patience.map(|n| integer("--patience", n)).transpose()?),
            ("train.objective", args.objective.map(|objective| objective.name().into())),
            ("model.preset", args.preset.map(|preset| preset.name().into())),
            ("model.n_px", n_px.transpose()?),
            ("palette.colors", colors.map(|n| integer("--colors", n)).transpose()?),
            ("palette.file", args.palette.as_ref().map(|p| path(p).into())),
            ("train.steps", args.steps.map(|n| integer("--steps", n)).transpose()?),
            ("train.epochs", args.epochs.map(Into::into)),
            ("train.minutes", args.minutes.map(Into::into)),
            ("train.optimizer.kind", args.optimizer.map(|optimizer| optimizer.name().into())),
            ("train.optimizer.lr", args.muon_lr.map(Into::into)),
            ("train.batch", args.batch.map(|n| integer("--batch", n)).transpose()?),
            ("train.lr", args.lr.map(Into::into)),
            ("train.device", args.device.map(|device| device.to_string().into())),
            ("train.precision", args.precision.map(|precision| precision.name().into())),
            ("train.threads", args.threads.map(|n| integer("--threads", n)).transpose()?),
        ];
        for (key, value) in flags {
            if let Some(value) = value {
                layers.set(key, value);
            }
        }
        if let Some(seed) = args.seed {
            layers.assign(&format!("train.seed={seed}"))?;
        }
        for assignment in &args.set {
            layers.assign(assignment)?;
        }
        Ok(())
    }
}

/// A flag's number as a config holds it.
///
/// # Errors
/// When it is larger than any there.
pub(crate) fn integer<N: TryInto<i64> + Copy + std::fmt::Display>(flag: &str, n: N) -> Result<Value> {
    n.try_into().map(Value::Integer).map_err(|_| Error::Invalid(format!("{flag} {n} is too large")))
}
