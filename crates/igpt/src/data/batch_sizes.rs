//! How many images each step takes: all alike, or twice as many from stage to stage of a run.

use std::fmt;
use std::ops::Range;

/// The sizes of a run's batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchSizes {
    first: usize,
    stages: u64,
    steps: u64,
}

impl From<usize> for BatchSizes {
    /// The same for all steps.
    fn from(first: usize) -> Self {
        Self { first, stages: 1, steps: 1 }
    }
}

impl fmt::Display for BatchSizes {
    /// The size, or the first and the last.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.stages {
            1 => write!(f, "{}", self.first),
            _ => write!(f, "{} to {}", self.first, self.largest()),
        }
    }
}

impl BatchSizes {
    /// From `first` images to `last`, a power of two times as many, doubled after equal shares of so many `steps`; all
    /// alike where `last` is 0 or `first`.
    pub fn doubling(first: usize, last: usize, steps: u64) -> Self {
        let times = last.checked_div(first).unwrap_or(1).max(1);
        Self { first, stages: 1 + u64::from(times.ilog2()), steps: steps.max(1) }
    }

    /// Images of step `step`, counted from 0.
    pub fn at(&self, step: u64) -> usize {
        self.first << self.stage(step)
    }

    /// Images of the last steps.
    pub fn largest(&self) -> usize {
        self.first << (self.stages - 1)
    }

    /// Images of a step on average over the run.
    pub fn mean(&self) -> f64 {
        (2 * self.largest() - self.first) as f64 / self.stages as f64
    }

    /// Images of all steps before `step`: the position of its first one in the endless row of training images.
    pub fn before(&self, step: u64) -> u64 {
        let stage = self.stage(step);
        let whole: u64 = (0..stage).map(|stage| (self.start(stage + 1) - self.start(stage)) * self.of(stage)).sum();
        whole + (step - self.start(stage)) * self.of(stage)
    }

    /// Positions of the images of step `step` at the places `part` of the first step's batch; they grow with it.
    pub fn positions(&self, step: u64, part: &Range<usize>) -> Range<u64> {
        let (first, scale) = (self.before(step), 1 << self.stage(step));
        first + part.start as u64 * scale..first + part.end as u64 * scale
    }

    fn of(&self, stage: u64) -> u64 {
        (self.first as u64) << stage
    }

    fn stage(&self, step: u64) -> u64 {
        (step * self.stages / self.steps).min(self.stages - 1)
    }

    /// The first step of a stage.
    fn start(&self, stage: u64) -> u64 {
        (stage * self.steps).div_ceil(self.stages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_double_at_equal_shares_and_every_position_is_in_one_place_of_one_step() {
        let sizes = BatchSizes::doubling(4, 16, 10);
        assert_eq!((0..12).map(|step| sizes.at(step)).collect::<Vec<_>>(), [4, 4, 4, 4, 8, 8, 8, 16, 16, 16, 16, 16]);
        for sizes in [sizes, 4.into(), BatchSizes::doubling(4, 8, 1), BatchSizes::doubling(4, 32, 3)] {
            let mut end = 0;
            for step in 0..12 {
                assert_eq!(sizes.before(step), end);
                for part in [0..2, 2..4] {
                    let positions = sizes.positions(step, &part);
                    assert_eq!((positions.start, positions.end - positions.start), (end, sizes.at(step) as u64 / 2));
                    end = positions.end;
                }
            }
        }
        let mean = BatchSizes::doubling(4, 16, 9).mean();
        assert_eq!((BatchSizes::doubling(4, 16, 9).before(9), mean * 9.0), (84, 84.0));
        assert_eq!((BatchSizes::from(5).mean(), BatchSizes::from(5).largest(), sizes.largest()), (5.0, 5, 16));
        assert_eq!((sizes.to_string(), BatchSizes::from(5).to_string()), ("4 to 16".into(), "5".into()));
    }
}
