//! How much of a run a report looks at.

use crate::data::OpenOptions;
use crate::device::Options;

/// Told what is being done, how much of it is done, and of how much.
pub type Progress<'a> = &'a mut dyn FnMut(&'static str, usize, usize);

/// How much to look at.
#[derive(Clone, Debug)]
pub struct Settings {
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
    pub options: Options,
}
