//! How much of a run a report looks at.

use crate::data::OpenOptions;
use crate::device::{EngineOptions, Precision};
use crate::setters::setters;

/// Told what is being done, how much of it is done, and of how much.
pub type ReportProgress<'a> = &'a mut dyn FnMut(&'static str, usize, usize);

/// How much to look at.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReportSettings {
    /// Data set instead of the run's own; a model directory that is no run needs one.
    pub data: Option<String>,
    /// Where data sets are looked for, and how downloads are told.
    pub open: OpenOptions,
    /// Test images scored at most, spread evenly; 0 is all.
    pub images: usize,
    /// Training images of the quick probe, where the run has no saved one; half as many of validation and of test. 0
    /// leaves it out.
    pub probe_images: usize,
    /// Seed of everything drawn.
    pub seed: u64,
    /// How the engine computes.
    pub options: EngineOptions,
}

impl Default for ReportSettings {
    fn default() -> Self {
        let options = EngineOptions::new(Precision::F32);
        Self { data: None, open: OpenOptions::default(), images: 1000, probe_images: 1000, seed: 0, options }
    }
}

setters!(ReportSettings {
    data: Option<String>,
    open: OpenOptions,
    images: usize,
    probe_images: usize,
    seed: u64,
    options: EngineOptions,
});
