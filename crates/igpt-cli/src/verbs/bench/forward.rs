//! The likelihood of images with random tokens.

use std::time::Instant;

use igpt::data::Batch;
use igpt::{Result, device};

use super::report::Timing;
use super::shape::Shape;

pub(super) fn run(shape: &Shape) -> Result<Timing> {
    let config = shape.config(None)?;
    let mut engine = device::init(&config, 0, &shape.options())?;
    let batch = Batch::new(shape.random_tokens(&config), shape.n_ctx);
    Timing::of(shape.tokens(), shape.forward_flops(&config), None, || {
        shape.time(2, || {
            let start = Instant::now();
            engine.evaluate(&batch)?;
            Ok(start.elapsed().as_secs_f64())
        })
    })
}
