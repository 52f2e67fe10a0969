//! `igpt bench`: how fast this machine trains and samples a network of a given shape.

use std::time::Instant;

use clap::{Subcommand, ValueEnum};
use igpt::cpu::{self, Isa, Options};
use igpt::data::Batch;
use igpt::generate::{self, Settings};
use igpt::model::{AdamUpdate, ImageSize, ModelConfig, Precision};
use igpt::rng::{Purpose, Rng};
use igpt::{Error, Result};
use serde_json::json;

/// Flags of `igpt bench`.
#[derive(clap::Args)]
#[command(after_help = "Example: igpt bench train --n-embd 256 --n-layer 8 --n-head 8 --n-ctx 1024 --batch 4 --json")]
pub(crate) struct Args {
    #[command(subcommand)]
    work: Work,
}

#[derive(Subcommand)]
enum Work {
    /// Whole optimiser steps: forward, backward, clip, Adam, packing of the weights
    Train(Shape),
    /// Drawing whole images with the KV cache
    Sample(Shape),
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Bf16,
    F32,
}

#[derive(clap::Args)]
struct Shape {
    /// Width of the residual stream
    #[arg(long, default_value_t = 256)]
    n_embd: usize,
    /// Blocks
    #[arg(long, default_value_t = 8)]
    n_layer: usize,
    /// Attention heads
    #[arg(long, default_value_t = 8)]
    n_head: usize,
    /// Tokens of an image: any product of two sides from 8 to 64
    #[arg(long, default_value_t = 1024)]
    n_ctx: usize,
    /// Colours of the palette
    #[arg(long, default_value_t = 512)]
    colors: usize,
    /// Images of a step, or drawn at once
    #[arg(long, default_value_t = 4)]
    batch: usize,
    /// Number format of the matrix products
    #[arg(long, value_enum, default_value_t = Format::Bf16)]
    precision: Format,
    /// Threads; 0 takes all cores
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Timed repetitions; the median counts
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// Print one JSON object as the last line
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> Result<()> {
    match args.work {
        Work::Train(shape) => report("train", &shape, train(&shape)?),
        Work::Sample(shape) => report("sample", &shape, sample(&shape)?),
    }
}

/// What was timed: seconds of each repetition, and the work in one.
struct Timing {
    seconds: Vec<f64>,
    tokens: usize,
    flops: f64,
    threads: usize,
}

impl Shape {
    fn config(&self) -> Result<ModelConfig> {
        let side = (8..=64usize).filter(|w| self.n_ctx.is_multiple_of(*w) && (8..=64).contains(&(self.n_ctx / w)));
        let width = side.min_by_key(|w| w.abs_diff(self.n_ctx / w)).ok_or_else(|| {
            Error::Invalid(format!("--n-ctx {}: not a product of two sides from 8 to 64", self.n_ctx))
        })?;
        let n_px = ImageSize { height: self.n_ctx / width, width };
        let config = ModelConfig::new(n_px, self.colors, self.n_embd, self.n_layer, self.n_head);
        config.validate()?;
        Ok(config)
    }

    fn options(&self, training: bool) -> Options {
        let precision = match self.precision {
            Format::Bf16 => Precision::Bf16,
            Format::F32 => Precision::F32,
        };
        Options { threads: self.threads, training, ..Options::inference(precision) }
    }

    fn threads(&self) -> usize {
        if self.threads == 0 { std::thread::available_parallelism().map_or(1, usize::from) } else { self.threads }
    }

    fn random_tokens(&self, config: &ModelConfig) -> Vec<u16> {
        let mut rng = Rng::new(0, Purpose::Sample, 0, 0);
        (0..self.batch * self.n_ctx).map(|_| rng.below(config.n_vocab as u64) as u16).collect()
    }
}

fn train(shape: &Shape) -> Result<Timing> {
    let config = shape.config()?;
    let mut engine = cpu::init(&config, 0, shape.options(true))?;
    let batch = Batch::new(shape.random_tokens(&config), shape.n_ctx);
    let update = AdamUpdate { lr: 1e-3, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.0, clip: 1.0 };
    let mut step = || -> Result<f64> {
        let start = Instant::now();
        engine.accumulate(&batch, 1.0 / batch.tokens().len() as f32)?;
        engine.step(&update)?;
        Ok(start.elapsed().as_secs_f64())
    };
    step()?;
    step()?;
    let seconds = (0..shape.repeats.max(1)).map(|_| step()).collect::<Result<_>>()?;
    let tokens = batch.tokens().len();
    // Six flops a parameter and token; attention over the causal half, forward and backward.
    let attention = 6 * shape.n_layer * shape.n_embd * shape.n_ctx * tokens;
    let flops = (6 * config.parameters() * tokens + attention) as f64;
    Ok(Timing { seconds, tokens, flops, threads: shape.threads() })
}

fn sample(shape: &Shape) -> Result<Timing> {
    let config = shape.config()?;
    let engine = cpu::init(&config, 0, shape.options(false))?;
    let settings = Settings::default();
    let draw = || -> Result<f64> {
        let start = Instant::now();
        generate::sample(&*engine, shape.batch, 0, &settings, shape.batch, &mut |_, _| {})?;
        Ok(start.elapsed().as_secs_f64())
    };
    let tokens = shape.batch * shape.n_ctx;
    let seconds = (0..shape.repeats.max(1)).map(|_| draw()).collect::<Result<_>>()?;
    let attention = 2 * shape.n_layer * shape.n_embd * shape.n_ctx * tokens;
    let flops = (2 * config.parameters() * tokens + attention) as f64;
    Ok(Timing { seconds, tokens, flops, threads: shape.threads() })
}

fn report(work: &str, shape: &Shape, mut timing: Timing) -> Result<()> {
    timing.seconds.sort_by(f64::total_cmp);
    let median = timing.seconds[timing.seconds.len() / 2];
    let tokens_per_second = timing.tokens as f64 / median;
    let gflops = timing.flops / median / 1e9;
    let isa = Isa::detect().name();
    let rss = igpt::machine::peak_rss_bytes();
    eprintln!(
        "{work}: {tokens_per_second:.0} tokens/s, median {median:.3} s of {} ({:.3} to {:.3}), {gflops:.0} GFLOP/s, \
         peak memory {}, {isa}, {} threads",
        timing.seconds.len(),
        timing.seconds[0],
        timing.seconds[timing.seconds.len() - 1],
        rss.map_or("unknown".into(), |bytes| format!("{:.2} GB", bytes as f64 / 1e9)),
        timing.threads,
    );
    if shape.json {
        crate::output::print_json(&json!({
            "tokens_per_second": tokens_per_second,
            "step_seconds": median,
            "gflops": gflops,
            "peak_rss_bytes": rss,
            "isa": isa,
            "threads": timing.threads,
        }));
    }
    Ok(())
}
