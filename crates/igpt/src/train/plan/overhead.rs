//! What stands beside optimizer steps in a run: validations, quick probes, sample grids, and how much of its time they may
//! take unless they are asked for.
//!
//! Validations choose the weights that are kept, so their number is counted from the plan and never measured: a run repeats
//! itself to the bit. Sample grids choose nothing and go by the clock.

use crate::train::config::TrainSettings;

/// What all of it takes, as a share of the time of the steps, before any of it was seen.
pub(crate) const SHARE: f64 = 0.12;
/// How much longer an image takes in training, forward and backward, than in a validation.
const STEP_TO_FORWARD: f64 = 3.0;
/// Validations of a run.
const VALIDATIONS: u64 = 20;
/// Validations for whose sake each is of fewer images.
const FEWEST_VALIDATIONS: f64 = 10.0;
/// Fewer images than these tell too little.
const FEWEST_IMAGES: usize = 64;
/// What probes may take, as a share of the time of the steps.
const PROBE_SHARE: f64 = 1.0 / 30.0;
/// Share of a run's time that samples may take.
const DRAWING_SHARE: f64 = 1.0 / 30.0;
/// Sample grids of a run.
const GRIDS: u64 = 4;
/// Fewest images of a grid that is drawn smaller for lack of time.
const FEWEST_DRAWN: usize = 4;

/// How validations and probes are planned where nothing is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValidationPlan {
    /// Validation images that there are.
    pub images: usize,
    /// Fewest of them that a validation may have.
    pub at_least: usize,
    /// What validations may take, as a share of the time of the steps.
    pub share: f64,
    /// Forward passes of an image that a probe costs; 0 where nothing is probed.
    pub probe: f64,
    /// Whether a probe comes with every validation.
    pub always_probes: bool,
}

impl Default for ValidationPlan {
    fn default() -> Self {
        Self { images: 0, at_least: FEWEST_IMAGES, share: 1.0 / 15.0, probe: 0.0, always_probes: false }
    }
}

impl ValidationPlan {
    /// Of a classifier: the validation's accuracy chooses its weights, so all images count, and it may take longer.
    pub fn of_classifier(images: usize) -> Self {
        Self { images, at_least: images, share: 1.0 / 5.0, ..Self::default() }
    }

    /// Of pretraining that validates so many `images` and probes at the cost of so many forward passes.
    pub fn of_pretraining(train: &TrainSettings, images: usize, probe: f64) -> Self {
        let all = Self { images, probe, always_probes: train.probe_images.is_some(), ..Self::default() };
        match train.eval_images {
            Some(_) => Self { at_least: images, ..all },
            None => all,
        }
    }

    /// As this one, but each validation is on `images`, as earlier ones of the run were.
    #[must_use]
    pub fn on(self, images: usize) -> Self {
        let images = images.min(self.images);
        Self { images, at_least: images, ..self }
    }

    /// Images that may be validated in all, in a run that trains on so many.
    fn affordable(&self, trained: f64) -> f64 {
        self.share * STEP_TO_FORWARD * trained
    }

    /// Images of each validation of such a run.
    pub(super) fn images_of(&self, trained: f64) -> usize {
        let images = (self.affordable(trained) / FEWEST_VALIDATIONS) as usize;
        images.clamp(self.at_least.min(self.images), self.images)
    }

    /// Validations of such a run.
    pub(super) fn times(&self, trained: f64) -> u64 {
        let times = self.affordable(trained) / self.images_of(trained).max(1) as f64;
        (times as u64).clamp(1, VALIDATIONS)
    }

    /// Probes of such a run; 0 where even one takes too long.
    pub(super) fn probings(&self, trained: f64) -> u64 {
        if self.always_probes || self.probe == 0.0 {
            return u64::MAX;
        }
        (PROBE_SHARE * STEP_TO_FORWARD * trained / self.probe) as u64
    }
}

/// How sample grids are planned where nothing is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SamplePlan {
    /// Grids of the run.
    pub grids: u64,
    /// Images of each.
    pub images: usize,
}

impl Default for SamplePlan {
    fn default() -> Self {
        Self { grids: GRIDS, images: 16 }
    }
}

impl SamplePlan {
    /// Grids of `images` each in a run of `run` seconds, if `cost` are those of such a grid: fewer, and where even one takes
    /// too long and `may_shrink`, a smaller one.
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
