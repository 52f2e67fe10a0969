//! Whole optimiser steps on random tokens.

use std::time::Instant;

use igpt::data::Batch;
use igpt::model::AdamUpdate;
use igpt::{Result, cpu};

use super::report::Timing;
use super::shape::Shape;

pub(super) fn run(shape: &Shape) -> Result<Timing> {
    let config = shape.config()?;
    let mut engine = cpu::init(&config, 0, shape.options(true))?;
    let batch = Batch::new(shape.random_tokens(&config), shape.n_ctx);
    let update = AdamUpdate { lr: 1e-3, beta1: 0.9, beta2: 0.95, eps: 1e-8, weight_decay: 0.0, clip: 1.0 };
    Timing::of(shape.tokens(), 3.0 * shape.forward_flops(&config), None, || {
        shape.time(2, || {
            let start = Instant::now();
            engine.accumulate(&batch, 1.0 / batch.tokens().len() as f32)?;
            engine.step(&update)?;
            Ok(start.elapsed().as_secs_f64())
        })
    })
}
