//! Durations on this machine, from short measurements.

use std::time::{Duration, Instant};

use crate::device::Engine;
use crate::{Result, generate};

/// Median duration of `f` in seconds over about `time`; the first call counts only if it takes all of `time`.
pub(in crate::train) fn seconds_of(time: Duration, mut f: impl FnMut() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    f()?;
    if start.elapsed() >= time {
        return Ok(start.elapsed().as_secs_f64());
    }
    let mut times = Vec::new();
    while start.elapsed() < time || times.is_empty() {
        let start = Instant::now();
        f()?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

/// Factor of the completions beside a grid: half as many positions, of half as many images, in narrower batches.
pub(in crate::train) const WITH_COMPLETIONS: f64 = 1.4;

/// Seconds of a grid of `images`, from some positions in the middle of an image, whose cost is about the mean.
pub(in crate::train) fn grid_seconds(engine: &dyn Engine, images: usize, time: Duration) -> Result<f64> {
    let (n_ctx, n_vocab) = (engine.config().n_ctx(), engine.config().n_vocab);
    let rows = images.div_ceil(images.div_ceil(generate::default_rows(engine.config())));
    let mut decoder = engine.decoder(rows)?;
    let mut logits = vec![0.0; rows * n_vocab];
    let given = vec![0; n_ctx / 2];
    (0..rows).try_for_each(|row| decoder.start(row, &given, &mut logits[..n_vocab]))?;
    let inputs: Vec<_> = (0..rows).map(|row| (row, 0)).collect();
    let mut left = n_ctx / 2 - 1;
    let position = seconds_of(time, || {
        if left == 0 {
            (0..rows).try_for_each(|row| decoder.start(row, &given, &mut logits[..n_vocab]))?;
            left = n_ctx / 2 - 1;
        }
        left -= 1;
        decoder.step(&inputs, &mut logits)
    })?;
    Ok(position * (n_ctx * images.div_ceil(rows)) as f64)
}
