//! Which model a verb looks at, and what computes it. Every engine that only computes forward is opened here, but for
//! those of `igpt bench`.

use std::path::{Path, PathBuf};

use igpt::device::{Device, EngineOptions, Precision};
use igpt::model::{ModelDir, Objective};
use igpt::train::open_model_dir;
use igpt::{Error, Model, Result};

use crate::named::named;
use crate::shared::{DeviceArgs, ThreadArgs};

/// What the model that comes inside the program is called.
const BUNDLED: &str = "the emoji model that comes with igpt";

/// Which model.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct ModelArgs {
    /// Model directory, or a run directory; without it the emoji model that comes with igpt
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
}

impl ModelArgs {
    /// What `--model` says.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.model.as_deref()
    }

    /// The model's name, for texts.
    pub(crate) fn name(&self) -> String {
        self.path().map_or(BUNDLED.into(), |path| path.display().to_string())
    }

    /// Opens the model.
    pub(crate) fn open(&self) -> Result<ModelDir> {
        open_or_bundled(self.path())
    }
}

/// Opens the model at `path`, a model directory or a run directory; without one the model that comes with igpt.
pub(crate) fn open_or_bundled(path: Option<&Path>) -> Result<ModelDir> {
    path.map_or_else(ModelDir::bundled, open_model_dir)
}

/// Refuses a model of masked pixels, and one without a generative head, where images are given a likelihood or drawn
/// pixel by pixel.
pub(crate) fn expect_autoregressive(model: &ModelDir, name: &str) -> Result<()> {
    match model.config.objective {
        Objective::Autoregressive => model.expect_generative(name),
        Objective::Masked => Err(Error::Invalid(format!(
            "{name} was trained on masked pixels, which gives images no likelihood and draws none pixel by pixel: take \
             a model pretrained with --objective autoregressive"
        ))),
    }
}

/// In which number format.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct PrecisionArgs {
    /// Number format of the matrix products
    #[arg(long, value_parser = named(&Precision::ALL, Precision::name), default_value = Precision::F32.name())]
    pub precision: Precision,
}

/// Formats that drawing may use beside the products' own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Quantize {
    /// Weights, keys and values with 8 bits
    Int8,
}

/// With how many bits pixels are drawn.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct QuantizeArgs {
    /// Draw with weights, keys and values of 8 bits: faster, for a slightly worse likelihood
    #[arg(long, value_enum)]
    pub quantize: Option<Quantize>,
}

impl QuantizeArgs {
    pub(crate) fn int8(&self) -> bool {
        self.quantize == Some(Quantize::Int8)
    }
}

/// What an engine computes with.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct EngineArgs {
    #[command(flatten)]
    threads: ThreadArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

impl EngineArgs {
    /// Threads to compute with; 0 is one for each available core.
    pub(crate) fn threads(&self) -> usize {
        self.threads.threads
    }

    /// Where to compute.
    pub(crate) fn device(&self) -> Device {
        self.device.device
    }

    /// Options of an engine that only computes forward.
    pub(crate) fn options(&self, precision: Precision) -> EngineOptions {
        inference(self.device.device, self.threads(), precision, None)
    }

    /// `model` with an engine that only computes forward.
    pub(crate) fn open(&self, model: ModelDir, precision: Precision, quantize: Option<Quantize>) -> Result<Model> {
        Model::from_model_dir(model, &inference(self.device.device, self.threads(), precision, quantize))
    }
}

/// Options of an engine that only computes forward, for verbs with flags of their own.
pub(crate) fn inference(
    device: Device,
    threads: usize,
    precision: Precision,
    quantize: Option<Quantize>,
) -> EngineOptions {
    let int8 = quantize == Some(Quantize::Int8);
    EngineOptions::new(precision).device(device).threads(threads).int8(int8)
}
