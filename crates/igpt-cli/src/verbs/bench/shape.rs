//! The network to measure.

use igpt::device::{self, EngineOptions, Precision, TrainOptions};
use igpt::image::ImageSize;
use igpt::machine::expect_memory;
use igpt::model::ModelConfig;
use igpt::rng::{Purpose, Rng};
use igpt::{Error, Result};
use igpt_kernels::pool::Pool;

use crate::model_args::QuantizeArgs;
use crate::named::named;
use crate::shared::DeviceArgs;

/// Flags that say what is measured and how.
#[derive(clap::Args, Clone)]
pub(super) struct Shape {
    /// Width of the residual stream
    #[arg(long, default_value_t = 256)]
    pub(super) n_embd: usize,
    /// Blocks
    #[arg(long, default_value_t = 8)]
    pub(super) n_layer: usize,
    /// Attention heads
    #[arg(long, default_value_t = 8)]
    pub(super) n_head: usize,
    /// Tokens of an image: any product of two sides from 8 to 64
    #[arg(long, default_value_t = 1024)]
    pub(super) n_ctx: usize,
    /// Colours of the palette
    #[arg(long, default_value_t = 512)]
    pub(super) colors: usize,
    /// Images of a step, or drawn at once
    #[arg(long, default_value_t = 4)]
    pub(super) batch: usize,
    /// Number format of the matrix products
    #[arg(long, value_parser = named(&Precision::ALL, Precision::name), default_value = Precision::Bf16.name())]
    pub(super) precision: Precision,
    /// Threads; 0 takes all cores
    #[arg(long, default_value_t = 0)]
    pub(super) threads: usize,
    #[command(flatten)]
    pub(super) device: DeviceArgs,
    #[command(flatten)]
    pub(super) quantize: QuantizeArgs,
    /// Timed repetitions; the median counts
    #[arg(long, default_value_t = 5)]
    pub(super) repeats: usize,
    /// Print one JSON object as the last line
    #[arg(long)]
    pub(super) json: bool,
}

impl Shape {
    /// The network, if there is memory for it; `training` how, if at all.
    pub(super) fn config(&self, training: Option<&TrainOptions>) -> Result<ModelConfig> {
        for (name, value, most) in
            [("--n-embd", self.n_embd, 1 << 16), ("--n-layer", self.n_layer, 1 << 12), ("--batch", self.batch, 1 << 20)]
        {
            if !(1..=most).contains(&value) {
                return Err(Error::Invalid(format!("{name} {value}: 1 to {most} are possible")));
            }
        }
        let side = (8..=64usize).filter(|w| self.n_ctx.is_multiple_of(*w) && (8..=64).contains(&(self.n_ctx / w)));
        let width = side.min_by_key(|w| w.abs_diff(self.n_ctx / w)).ok_or_else(|| {
            Error::Invalid(format!("--n-ctx {}: not a product of two sides from 8 to 64", self.n_ctx))
        })?;
        let n_px = ImageSize { height: self.n_ctx / width, width };
        let config = ModelConfig::new(n_px, self.colors, self.n_embd, self.n_layer, self.n_head);
        config.validate()?;
        let batch = (self.batch * self.n_ctx * size_of::<u16>()) as u64;
        let backend = device::backend(self.device.device)?;
        let network = match training {
            Some(options) => backend.train_memory(&config, options),
            None => backend.memory(&config, &self.options()),
        };
        expect_memory(network.total().saturating_add(batch), || "the network with its activations".into())?;
        Ok(config)
    }

    pub(super) fn options(&self) -> EngineOptions {
        let (device, threads, int8) = (self.device.device, self.threads, self.quantize.int8());
        EngineOptions::new(self.precision).device(device).threads(threads).int8(int8)
    }

    pub(super) fn threads(&self) -> usize {
        Pool::thread_count(self.threads)
    }

    /// Tokens of a batch.
    pub(super) fn tokens(&self) -> usize {
        self.batch * self.n_ctx
    }

    pub(super) fn random_tokens(&self, config: &ModelConfig) -> Vec<u16> {
        let mut rng = Rng::new(0, Purpose::Sample, 0, 0);
        (0..self.tokens()).map(|_| rng.below(config.n_vocab as u64) as u16).collect()
    }

    /// Flops of a forward pass over the batch: two a parameter and token, and attention over the causal half.
    pub(super) fn forward_flops(&self, config: &ModelConfig) -> f64 {
        let attention = (2 * self.n_layer * self.n_embd * self.n_ctx) as f64;
        (2.0 * config.parameters() as f64 + attention) * self.tokens() as f64
    }

    /// `warm_up` and then `repeats` timed runs of `work`, which gives its seconds.
    pub(super) fn time(&self, warm_up: usize, mut work: impl FnMut() -> Result<f64>) -> Result<Vec<f64>> {
        for _ in 0..warm_up {
            work()?;
        }
        (0..self.repeats.max(1)).map(|_| work()).collect()
    }
}
