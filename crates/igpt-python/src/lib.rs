//! The extension module `igpt._igpt`: NumPy in and out of the library's face.
//!
//! The package's Python sources (`python/igpt`) bring images into the form that is taken here: lists of C-contiguous arrays
//! uint8 (height, width, channels). Everything that computes releases the GIL.

mod arrays;
mod dataset;
mod errors;
mod model;
mod palette;
mod program;
mod report;
mod running;
mod training;

use pyo3::prelude::*;

#[pymodule]
mod _igpt {
    #[pymodule_export]
    use super::dataset::Dataset;
    #[pymodule_export]
    use super::errors::Error;
    #[pymodule_export]
    use super::model::Model;
    #[pymodule_export]
    use super::palette::Palette;
    #[pymodule_export]
    use super::program::main;
    #[pymodule_export]
    use super::report::report;
    #[pymodule_export]
    use super::training::{finetune, pretrain};

    use super::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
