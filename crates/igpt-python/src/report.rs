//! `igpt.report`.

use std::path::PathBuf;

use igpt::device;
use igpt::report::{Findings, ReportSettings, run_page};
use pyo3::prelude::*;

use crate::dataset::Dataset;
use crate::running::detached;

/// The page about `runs` as HTML, on their own data sets or on a given one. `made` is the call that the page names.
#[pyfunction]
#[pyo3(signature = (runs, dataset, images, probe_images, seed, made))]
pub(crate) fn report(
    py: Python<'_>,
    runs: Vec<PathBuf>,
    dataset: Option<&Dataset>,
    images: usize,
    probe_images: usize,
    seed: u64,
    made: String,
) -> PyResult<String> {
    let dataset = dataset.map(|dataset| dataset.0.clone());
    detached(py, || {
        let settings = ReportSettings::default().images(images).probe_images(probe_images).seed(seed).dataset(dataset);
        let mut findings = runs
            .iter()
            .map(|run| Findings::gather(run, &settings, &mut |_, _, _| ()))
            .collect::<Result<Vec<_>, _>>()?;
        Findings::shorten_names(&mut findings);
        let arithmetic = device::backend(settings.options.device)?.arithmetic_name();
        Ok(run_page(&findings, &made, &arithmetic, seed).html())
    })
}
