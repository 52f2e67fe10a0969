//! Overhead of a run beside optimizer steps: validations, quick probes, sample grids, and the share of its time that
//! they may take by default.
//!
//! Validations choose the weights that are kept. Their number is therefore computed from the plan and never measured,
//! so that a run repeats to the bit. Sample grids choose nothing, so their number depends on the clock.

use crate::train::config::TrainSettings;

/// Share of all overhead in the time of the steps, before any was measured.
pub(crate) const SHARE: f64 = 0.12;
/// Ratio of an image's time in training, forward and backward, to its time in a validation.
const STEP_TO_FORWARD: f64 = 3.0;
/// Default number of validations in a run.
const VALIDATIONS: u64 = 20;
/// Number of validations below which each validation has fewer images instead.
const FEWEST_VALIDATIONS: f64 = 10.0;
/// Smallest number of validation images: fewer say too little.
const FEWEST_IMAGES: usize = 64;
/// Largest share of quick probes in the time of the steps.
const PROBE_SHARE: f64 = 1.0 / 30.0;
/// Largest share of samples in a run's time.
const DRAWING_SHARE: f64 = 1.0 / 30.0;
/// Default number of sample grids in a run.
const GRIDS: u64 = 4;
/// Fewest images of a grid that is reduced for lack of time.
const FEWEST_DRAWN: usize = 4;

/// Default plan of validations and quick probes, for configs that don't set intervals.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValidationPlan {
    /// Number of available validation images.
    pub images: usize,
    /// Fewest images in a validation.
    pub at_least: usize,
    /// Largest share of validations in the time of the steps.
    pub share: f64,
    /// Cost of a quick probe, in forward passes of one image; 0 without probes.
    pub probe: f64,
    /// Whether every validation is followed by a probe.
    pub always_probes: bool,
}

impl Default for ValidationPlan {
    fn default() -> Self {
        Self { images: 0, at_least: FEWEST_IMAGES, share: 1.0 / 15.0, probe: 0.0, always_probes: false }
    }
}

impl ValidationPlan {
    /// Plan for a classifier with `images` validation images.
    ///
    /// The accuracy on these images chooses the weights, so a validation has all of them and may take longer.
    pub fn of_classifier(images: usize) -> Self {
        Self { images, at_least: images, share: 1.0 / 5.0, ..Self::default() }
    }

    /// Plan for pretraining with `images` validation images and a quick probe that costs `probe` forward passes.
    pub fn of_pretraining(train: &TrainSettings, images: usize, probe: f64) -> Self {
        let all = Self { images, probe, always_probes: train.probe_images.is_some(), ..Self::default() };
        match train.eval_images {
            Some(_) => Self { at_least: images, ..all },
            None => all,
        }
    }

    /// Plan with `images` in each validation, as in earlier validations of the run.
    #[must_use]
    pub fn on(self, images: usize) -> Self {
        let images = images.min(self.images);
        Self { images, at_least: images, ..self }
    }

    /// Images that can be validated in all, in a run that trains on `trained` images.
    fn affordable(&self, trained: f64) -> f64 {
        self.share * STEP_TO_FORWARD * trained
    }

    /// Images of each validation in a run that trains on `trained` images.
    pub(super) fn images_of(&self, trained: f64) -> usize {
        let images = (self.affordable(trained) / FEWEST_VALIDATIONS) as usize;
        images.clamp(self.at_least.min(self.images), self.images)
    }

    /// Validations in a run that trains on `trained` images.
    pub(super) fn times(&self, trained: f64) -> u64 {
        let times = self.affordable(trained) / self.images_of(trained).max(1) as f64;
        (times as u64).clamp(1, VALIDATIONS)
    }

    /// Quick probes in a run that trains on `trained` images; 0 if even one takes too long.
    pub(super) fn probings(&self, trained: f64) -> u64 {
        if self.always_probes || self.probe == 0.0 {
            return u64::MAX;
        }
        (PROBE_SHARE * STEP_TO_FORWARD * trained / self.probe) as u64
    }
}

/// Default plan of sample grids, for configs that don't set an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SamplePlan {
    /// Number of grids in the run.
    pub grids: u64,
    /// Number of images in each grid.
    pub images: usize,
}

impl Default for SamplePlan {
    fn default() -> Self {
        Self { grids: GRIDS, images: 16 }
    }
}

impl SamplePlan {
    /// Plan of grids of `images` each in a run of `run` seconds, if such a grid takes `cost` seconds.
    ///
    /// It has fewer grids if they would take too long. If even one takes too long and `may_shrink`, that one is
    /// smaller.
    pub fn within(run: f64, cost: f64, images: usize, may_shrink: bool) -> Self {
        let affordable = DRAWING_SHARE * run / cost.max(1e-9);
        if affordable >= 1.0 || !may_shrink {
            return Self { grids: (affordable as u64).clamp(1, GRIDS), images };
        }
        let fewer = (affordable * images as f64) as usize;
        Self { grids: 1, images: fewer.clamp(FEWEST_DRAWN.min(images), images) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_get_fewer_and_then_smaller_as_time_gets_short() {
        let grids = |run, may_shrink| {
            let SamplePlan { grids, images } = SamplePlan::within(run, 2.0, 16, may_shrink);
            (grids, images)
        };
        assert_eq!((grids(1000.0, true), grids(150.0, true), grids(61.0, true)), ((4, 16), (2, 16), (1, 16)));
        assert_eq!((grids(30.0, true), grids(3.0, true), grids(30.0, false)), ((1, 8), (1, 4), (1, 16)));
    }
}
