//! Sections of the page, each for one or more runs: several runs follow each other under their names, or share a chart.

mod features;
mod learning;
mod pictures;
mod shared;
mod summary;

pub(super) use features::{layers, likelihood_and_probe, maps};
pub(super) use learning::learning;
pub(super) use pictures::{completions, odd, over_time, palettes, samples};
pub(super) use summary::{absent, figures, going_on};
