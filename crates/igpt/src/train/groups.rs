//! The gradient of a batch: cut into equal groups, each group into micro-batches, the groups summed by a binary tree.
//!
//! The tree is what data-parallel ranks share: each makes the subtree of its own groups, [`Collective`] the rest, and
//! its sums are the same bits whoever computes them. With one group there is no tree and no extra memory, the engine
//! just accumulates.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use igpt_kernels::{Isa, reduce};

use crate::cpu::tokens_at_once;
use crate::data::Batch;
use crate::model::{Engine, LossSum};
use crate::ranks::Collective;
use crate::train::config::TrainSection;
use crate::{Error, Result};

/// Images of the largest micro-batch: those that the config says, or about [`tokens_at_once`], but at least one image and at
/// most `images`.
pub(super) fn micro_batch(train: &TrainSection, images: usize, n_ctx: usize) -> usize {
    let most = if train.micro_batch > 0 { train.micro_batch } else { tokens_at_once(train.threads) / n_ctx };
    most.clamp(1, images.max(1))
}

/// Cuts `images` as evenly as possible into runs of at most `most` (at least 1).
pub fn even_runs(images: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> {
    let count = images.len().div_ceil(most);
    let start = images.start;
    let at = move |i: usize| start + i * images.len() / count.max(1);
    (0..count).map(move |i| at(i)..at(i + 1))
}

/// Accumulates whole batches into an engine's gradients.
#[derive(Debug)]
pub struct GradientTree {
    groups: usize,
    most: usize,
    /// Sums of complete subtrees: `levels[l]` holds 2^l groups when `filled[l]`.
    levels: Vec<Vec<f32>>,
    filled: Vec<bool>,
    squares: Option<f64>,
}

impl GradientTree {
    /// For batches (or a rank's part of them) of a multiple of `groups` (a power of two) images, micro-batches of at
    /// most `most` images and gradients of `len` values; holds log2(`groups`) gradients.
    ///
    /// # Errors
    /// When `groups` is not a power of two.
    pub fn new(groups: usize, most: usize, len: usize) -> Result<Self> {
        if !groups.is_power_of_two() {
            return Err(Error::Invalid(format!("train.gradient_groups is {groups}, but must be a power of two")));
        }
        let depth = groups.ilog2() as usize;
        Ok(Self { groups, most, levels: vec![vec![0.0; len]; depth], filled: vec![false; depth], squares: None })
    }

    /// Adds the gradient of the mean loss per token of all ranks' parts of a batch to the engine's (zero) gradients;
    /// gives the losses of this rank's part, `batch`. Gives nothing when `stop` was raised in between; the gradients
    /// are then of no use. Several ranks stop only between batches, together.
    pub fn accumulate(
        &mut self,
        engine: &mut dyn Engine,
        batch: &Batch,
        ranks: &mut Collective,
        stop: &AtomicBool,
    ) -> Result<Option<LossSum>> {
        let alone = ranks.size() == 1;
        let scale = 1.0 / (ranks.size() * batch.tokens().len()) as f32;
        let images = batch.images() / self.groups;
        assert_eq!(images * self.groups, batch.images(), "{} groups of a batch", self.groups);
        let mut total = LossSum { nats: Vec::with_capacity(batch.images()), ..LossSum::default() };
        self.filled.fill(false);
        self.squares = (alone && self.groups > 1).then_some(0.0);
        for group in 0..self.groups {
            let mut runs = even_runs(group * images..(group + 1) * images, self.most).peekable();
            while let Some(run) = runs.next() {
                if alone && stop.load(Ordering::Relaxed) {
                    return Ok(None);
                }
                let (run, last) = (batch.slice(run), group + 1 == self.groups && runs.peek().is_none());
                total.extend(match last && !alone {
                    true => self.sum_among(engine, &run, scale, ranks)?,
                    false => engine.accumulate(&run, scale)?,
                });
            }
            if let Some(squares) = &mut self.squares {
                *squares += reduce::sum_squares(Isa::detect(), engine.gradients());
            }
            if alone || group + 1 < self.groups {
                self.join(engine.gradients());
            }
        }
        Ok(Some(total))
    }

    /// The last micro-batch of this rank: what becomes final of the gradient is joined with the subtrees of the groups
    /// before, and summed over all ranks while the rest is computed.
    fn sum_among(&self, engine: &mut dyn Engine, run: &Batch, scale: f32, ranks: &mut Collective) -> Result<LossSum> {
        let (mut sums, mut started) = (Vec::new(), Ok(()));
        let found = engine.accumulate_ready(run, scale, &mut |range, values| {
            for level in &self.levels {
                values.iter_mut().zip(&level[range.clone()]).for_each(|(sum, earlier)| *sum += *earlier);
            }
            if started.is_ok() {
                started = ranks.start_sum(values);
                sums.push(range);
            }
        })?;
        started?;
        let gradients = engine.gradients();
        for range in sums {
            ranks.finish_sum(&mut gradients[range])?;
        }
        Ok(found)
    }

    /// The sum over the groups of the squared norms of their gradients in the last batch; none where there is one group
    /// only, or another rank has some of them.
    pub fn squares(&self) -> Option<f64> {
        self.squares
    }

    /// Joins a finished group with the complete subtrees before it; parks the sum unless it is the whole tree.
    pub(crate) fn join(&mut self, gradients: &mut [f32]) {
        for (level, filled) in self.levels.iter_mut().zip(&mut self.filled) {
            if !*filled {
                level.copy_from_slice(gradients);
                gradients.fill(0.0);
                *filled = true;
                return;
            }
            for (sum, earlier) in gradients.iter_mut().zip(level.iter()) {
                *sum += *earlier;
            }
            *filled = false;
        }
    }
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
            super::micro_batch(&TrainSection { threads, micro_batch, ..TrainSection::default() }, images, n_ctx)
        };
        assert_eq!((most(2, 0, 128, 1024), most(1, 0, 128, 1024)), (4, 2));
        assert_eq!((most(2, 0, 128, 16384), most(2, 0, 2, 64), most(1, 7, 128, 1024)), (1, 2, 7));
    }

    #[test]
    fn groups_are_summed_by_a_binary_tree() {
        // As pairs these four add to 4 in f32, in sequence to 3.
        let parts = [1.0f32, 33_554_432.0, -33_554_432.0, 3.0];
        let mut tree = GradientTree::new(4, 1, 1).unwrap();
        let mut gradients = [0.0];
        for (i, part) in parts.into_iter().enumerate() {
            gradients[0] += part;
            tree.join(&mut gradients);
            assert_eq!(gradients[0] == 0.0, i < 3);
        }
        assert_eq!(gradients[0], (parts[0] + parts[1]) + (parts[2] + parts[3]));
        assert_ne!(gradients[0], ((parts[0] + parts[1]) + parts[2]) + parts[3]);
    }
}
