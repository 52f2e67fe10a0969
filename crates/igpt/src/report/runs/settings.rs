//! Settings of a report on runs.

use crate::data::{Dataset, OpenOptions};
use crate::device::{EngineOptions, Precision};
use crate::setters::setters;

/// Callback for progress; its arguments are the activity, the amount done and the total.
pub type ReportProgress<'a> = &'a mut dyn FnMut(&'static str, usize, usize);

/// Settings of a report on runs: data set, numbers of images, and seed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReportSettings {
    /// Data set to use instead of the run's own; a model directory without a run needs one.
    pub data: Option<String>,
    /// Opened data set to use instead, such as the images in memory that the run was trained on.
    pub dataset: Option<Dataset>,
    /// Options for opening data sets: where they are looked for, and how downloads are reported.
    pub open: OpenOptions,
    /// Largest number of test images to score, spread evenly; 0 is all.
    pub images: usize,
    /// Training images of the quick probe, if the run has no saved probe; 0 skips it.
    ///
    /// The quick probe uses half as many validation images, and half as many test images.
    pub probe_images: usize,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Options of the engine.
    pub options: EngineOptions,
}

impl Default for ReportSettings {
    fn default() -> Self {
        let options = EngineOptions::new(Precision::F32);
        Self {
            data: None,
            dataset: None,
            open: OpenOptions::default(),
            images: 1000,
            probe_images: 1000,
            seed: 0,
            options,
        }
    }
}

setters!(ReportSettings {
    data: Option<String>,
    dataset: Option<Dataset>,
    open: OpenOptions,
    images: usize,
    probe_images: usize,
    seed: u64,
    options: EngineOptions,
});
