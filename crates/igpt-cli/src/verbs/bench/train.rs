//! Whole optimiser steps on random tokens.

use std::time::Instant;

use igpt::data::Batch;
use igpt::device::{AdamUpdate, HiddenUpdate, MuonUpdate, Optimizer, TrainOptions, Update};
use igpt::model::LrMultipliers;
use igpt::{Result, device};

use super::report::Timing;
use super::shape::Shape;
use crate::named::named;
use crate::output::say;

/// Flags of `igpt bench train`.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) shape: Shape,
    /// What updates the weights
    #[arg(long, value_parser = named(&Optimizer::ALL, Optimizer::name), default_value = Optimizer::Adam.name())]
    optimizer: Optimizer,
}

pub(super) fn run(args: &Args) -> Result<Timing> {
    let shape = &args.shape;
    let optimizer = args.optimizer;
    let hidden = match optimizer {
        Optimizer::Adam => HiddenUpdate::Adam,
        Optimizer::Muon => HiddenUpdate::Muon(MuonUpdate { lr: 0.02, momentum: 0.95, weight_decay: 0.0 }),
    };
    let options = TrainOptions::new(shape.precision).engine(shape.options()).optimizer(optimizer);
    let config = shape.config(Some(&options))?;
    let mut engine = device::init_training(&config, 0, &options)?;
    let batch = Batch::new(shape.random_tokens(&config), shape.n_ctx);
    let adam = AdamUpdate { lr: 1e-3, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.0 };
    let update = Update { clip: 1.0, adam, hidden, rates: LrMultipliers::ONES };
    let mut updates = Vec::new();
    let timing = Timing::of(shape.tokens(), 3.0 * shape.forward_flops(&config), None, || {
        shape.time(2, || {
            let start = Instant::now();
            engine.accumulate(&batch, 1.0 / batch.tokens().len() as f32)?;
            let gradient = start.elapsed().as_secs_f64();
            engine.step(&update)?;
            let whole = start.elapsed().as_secs_f64();
            updates.push(whole - gradient);
            Ok(whole)
        })
    })?;
    updates.sort_by(f64::total_cmp);
    let median = updates[updates.len() / 2];
    say!("the update: median {:.2} ms, {:.1} % of a step", 1e3 * median, 100.0 * median / timing.median());
    Ok(timing)
}
