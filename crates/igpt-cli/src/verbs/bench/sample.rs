//! Drawing whole images from nothing.

use std::time::Instant;

use igpt::device::Precision;
use igpt::generate::{self, SamplingSettings};
use igpt::{Result, device};

use super::report::Timing;
use super::shape::Shape;

pub(super) fn run(shape: &Shape) -> Result<Timing> {
    let config = shape.config(None)?;
    let engine = device::init(&config, 0, &shape.options())?;
    let settings = SamplingSettings::default();
    let value = match shape.precision {
        _ if shape.quantize.int8() => 1,
        Precision::Bf16 => 2,
        Precision::F32 => 4,
    };
    // A position reads all weights but the embeddings once for the whole batch, and each image's keys and values so
    // far: of half of the context on average.
    let embeddings = (config.n_vocab + 1 + shape.n_ctx) * shape.n_embd;
    let cache = shape.batch * shape.n_layer * shape.n_embd * shape.n_ctx;
    let bytes = (config.parameters() - embeddings + cache) * value * shape.n_ctx;
    Timing::of(shape.tokens(), shape.forward_flops(&config), Some(bytes as f64), || {
        shape.time(0, || {
            let start = Instant::now();
            generate::sample(&*engine, shape.batch, 0, &settings, shape.batch, &mut |_, _| {})?;
            Ok(start.elapsed().as_secs_f64())
        })
    })
}
