//! Data sets of `--data` specs and of arrays, and what is in them.

use std::path::PathBuf;

use igpt::data::{OpenOptions, Split, open};
use igpt::image::Pixels;
use numpy::PyArrayDyn;
use pyo3::prelude::*;

use crate::arrays::{Arrays, array, pixels};
use crate::errors::raised;
use crate::running::detached;

/// Images cut into training, validation and test.
#[pyclass(frozen, module = "igpt._igpt")]
pub(crate) struct Dataset(pub(crate) igpt::data::Dataset);

#[pymethods]
impl Dataset {
    /// Opens what a `--data` spec names.
    #[staticmethod]
    #[pyo3(signature = (spec, data_dir=None))]
    fn open(py: Python<'_>, spec: &str, data_dir: Option<PathBuf>) -> PyResult<Self> {
        detached(py, || open(spec, &OpenOptions::default().data_dir(data_dir)).map(Self))
    }

    /// Takes images, and the positions of their classes in `classes` where they have some. The last `validation` of them
    /// are for validation and all others for training; without a number, a tenth each are for validation and tests.
    #[staticmethod]
    #[pyo3(signature = (arrays, labels, classes, validation))]
    fn of_arrays(
        arrays: Arrays<'_>,
        labels: Option<Vec<u32>>,
        classes: Vec<String>,
        validation: Option<usize>,
    ) -> PyResult<Self> {
        let images = pixels(&arrays)?;
        let count = images.len() as u32;
        let dataset = match labels {
            None => igpt::data::Dataset::from_images(images),
            Some(labels) => igpt::data::Dataset::from_labelled_images(images, labels, classes),
        };
        let dataset = match validation {
            None => dataset,
            Some(validation) => {
                let train = count.saturating_sub(validation as u32);
                dataset.and_then(|dataset| dataset.with_parts([(0..train).collect(), (train..count).collect(), vec![]]))
            }
        };
        dataset.map(Self).map_err(raised)
    }

    /// Names of the classes; empty without labels.
    #[getter]
    fn classes(&self) -> Vec<String> {
        self.0.classes.clone()
    }

    /// The images of a split, uint8 (height, width, channels) each.
    fn arrays<'py>(&self, py: Python<'py>, split: &str) -> PyResult<Vec<Bound<'py, PyArrayDyn<u8>>>> {
        let images = self.images(split)?;
        let pixels: Vec<Pixels> = detached(py, || (0..images.len()).map(|i| images.pixels(i)).collect())?;
        let shaped = |image: Pixels| {
            let shape = [image.size.height, image.size.width, image.channels];
            array(py, image.data, &shape)
        };
        Ok(pixels.into_iter().map(shaped).collect())
    }

    /// The class of each image of a split: a position in `classes`, or none.
    fn labels(&self, split: &str) -> PyResult<Vec<Option<u32>>> {
        let images = self.images(split)?;
        Ok((0..images.len()).map(|i| images.label(i)).collect())
    }
}

impl Dataset {
    fn images(&self, split: &str) -> PyResult<igpt::data::Images> {
        self.0.split(split.parse::<Split>().map_err(raised)?).map_err(raised)
    }
}
