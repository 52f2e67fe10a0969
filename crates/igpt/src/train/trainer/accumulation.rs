//! Gradient accumulation: a batch is cut into equal gradient groups, and each group into micro-batches.
//!
//! The engine sums the groups by a binary tree. With several ranks, each makes the lower part of the tree from its own
//! groups, and [`Collective`] makes the rest.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::data::Batch;
use crate::device::{LossSum, TrainEngine, backend};
use crate::ranks::Collective;
use crate::train::config::TrainSettings;
use crate::{Error, Result};

/// Images of the largest micro-batch: as the config says, or the device's preferred number, but at least one and at
/// most `images`.
pub(in crate::train) fn micro_batch(train: &TrainSettings, images: usize, n_ctx: usize) -> Result<usize> {
    let most = match train.micro_batch {
        0 => backend(train.device)?.tokens_at_once(train.threads) / n_ctx,
        images => images,
    };
    Ok(most.clamp(1, images.max(1)))
}

/// Cuts `images` as evenly as possible into ranges of at most `most` (at least 1).
pub(crate) fn even_runs(images: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> {
    let count = images.len().div_ceil(most);
    let start = images.start;
    let at = move |i: usize| start + i * images.len() / count.max(1);
    (0..count).map(move |i| at(i)..at(i + 1))
}

/// Refuses a number of ranks that does not divide the gradient groups evenly.
pub(in crate::train) fn expect_divisible(groups: usize, ranks: usize) -> Result<()> {
    if groups.is_multiple_of(ranks) {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "{ranks} ranks can't divide train.gradient_groups {groups}: start at most {groups} ranks, or a new run with \
         --set train.gradient_groups={ranks}"
    )))
}

/// Gradient accumulation: numbers of gradient groups and of images per micro-batch.
#[derive(Clone, Copy, Debug)]
pub struct GradientAccumulation {
    /// Number of gradient groups in a rank's part of a batch, or in the whole batch of a single process.
    ///
    /// The engine must be opened for the same number, and the images must be a multiple of it.
    pub groups: usize,
    /// Largest number of images in a micro-batch.
    pub most: usize,
}

/// Losses of a batch, and the gradient norms of its groups.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BatchGradient {
    /// Losses of this rank's part of the batch.
    pub losses: LossSum,
    /// Sum over the groups of the squared norms of their gradients; `None` with one group only, or with several ranks.
    pub group_squared_norms: Option<f64>,
}

impl GradientAccumulation {
    /// Accumulates the gradient of a batch in `engine`, whose gradients must be zero, and all-reduces it among the
    /// ranks.
    ///
    /// The gradient is that of the mean loss per token over all ranks' parts; this rank's part is `batch`. The result
    /// is `None` if `stop` was raised in between; the gradients are then unusable. Several ranks stop only between
    /// batches, together.
    pub fn run(
        self,
        engine: &mut dyn TrainEngine,
        batch: &Batch,
        ranks: &mut Collective,
        stop: &AtomicBool,
    ) -> Result<Option<BatchGradient>> {
        let alone = ranks.size() == 1;
        let scale = 1.0 / (ranks.size() * batch.tokens().len()) as f32;
        let images = batch.images() / self.groups;
        assert_eq!(images * self.groups, batch.images(), "{} groups of a batch", self.groups);
        let mut losses = LossSum { nats: Vec::with_capacity(batch.images()), ..LossSum::default() };
        let mut squares = (alone && self.groups > 1).then_some(0.0);
        for group in 0..self.groups {
            let mut runs = even_runs(group * images..(group + 1) * images, self.most).peekable();
            while let Some(run) = runs.next() {
                if alone && stop.load(Ordering::Relaxed) {
                    return Ok(None);
                }
                let (run, last) = (batch.slice(run), group + 1 == self.groups && runs.peek().is_none());
                losses.extend(match last && !alone {
                    true => sum_among(engine, &run, scale, ranks)?,
                    false => engine.accumulate(&run, scale)?,
                });
            }
            if let Some(squares) = &mut squares {
                *squares += engine.squared_norm()?;
            }
            if alone || group + 1 < self.groups {
                engine.end_group()?;
            }
        }
        Ok(Some(BatchGradient { losses, group_squared_norms: squares }))
    }
}

/// Runs the last micro-batch of this rank. Each final part of the gradient is summed over all ranks (all-reduce) while
/// the rest is computed.
fn sum_among(engine: &mut dyn TrainEngine, run: &Batch, scale: f32, ranks: &mut Collective) -> Result<LossSum> {
    let mut sums = Vec::new();
    let found = engine.accumulate_last(run, scale, &mut |bucket| {
        sums.push(bucket.range());
        ranks.all_reduce_start(|values| bucket.copy_to_host(values))
    })?;
    for range in sums {
        ranks.all_reduce_finish(|values| engine.copy_gradient_in(range, values))?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_even_and_cover_all_images() {
        let runs = |images, most| even_runs(images, most).collect::<Vec<_>>();
        assert_eq!(runs(0..10, 4), [0..3, 3..6, 6..10]);
        assert_eq!(runs(4..8, 4), std::iter::once(4..8).collect::<Vec<_>>());
        assert_eq!(runs(5..5, 4), []);
        let most = |threads, micro_batch, images, n_ctx| {
            let device = crate::device::Device::Cpu;
            super::micro_batch(&TrainSettings { device, threads, micro_batch, ..TrainSettings::paper() }, images, n_ctx)
                .unwrap()
        };
        assert_eq!((most(2, 0, 128, 1024), most(1, 0, 128, 1024)), (4, 2));
        assert_eq!((most(2, 0, 128, 16384), most(2, 0, 2, 64), most(1, 7, 128, 1024)), (1, 2, 7));
    }
}
