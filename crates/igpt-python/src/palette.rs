//! `igpt.Palette`.

use std::path::PathBuf;

use igpt::data::color_histogram;
use igpt::palette::{ColorScale, PaletteFitOptions, Quantizer, fit};
use numpy::PyArrayDyn;
use pyo3::prelude::*;

use crate::arrays::{Arrays, array, images, pixels};
use crate::errors::raised;
use crate::running::detached;

/// A palette of colours: pixels to tokens and back.
#[pyclass(frozen, module = "igpt._igpt")]
pub(crate) struct Palette(Quantizer);

impl Palette {
    pub(crate) fn new(palette: igpt::palette::Palette) -> Self {
        Self(Quantizer::new(palette))
    }
}

#[pymethods]
impl Palette {
    #[staticmethod]
    #[pyo3(signature = (arrays, colors, seed, threads))]
    fn fit(py: Python<'_>, arrays: Arrays<'_>, colors: usize, seed: u64, threads: usize) -> PyResult<Self> {
        let images = images(&arrays)?;
        detached(py, || {
            let options = PaletteFitOptions::default().colors(colors).seed(seed).threads(threads);
            let sample = Some((options.pixels, options.seed));
            let (histogram, _) = color_histogram(&images, None, images.channels(), sample, threads)?;
            fit(&histogram, &options).map(|(palette, _)| Self::new(palette))
        })
    }

    #[staticmethod]
    fn load(path: PathBuf) -> PyResult<Self> {
        igpt::palette::Palette::open(path).map(Self::new).map_err(raised)
    }

    /// Tokens of each image, uint16 (height, width).
    fn quantize<'py>(&self, py: Python<'py>, arrays: Arrays<'py>) -> PyResult<Vec<Bound<'py, PyArrayDyn<u16>>>> {
        let images = pixels(&arrays)?;
        let tokens = detached(py, || {
            Ok(images
                .iter()
                .map(|image| {
                    let image = image.with_channels(self.0.palette().channels());
                    let mut tokens = vec![0; image.size.pixels()];
                    self.0.tokens(&image, &mut tokens);
                    (tokens, image.size)
                })
                .collect::<Vec<_>>())
        })?;
        Ok(tokens.into_iter().map(|(tokens, size)| array(py, tokens, &[size.height, size.width])).collect())
    }

    /// The colours, uint8 (colours, 3).
    #[getter]
    fn colors<'py>(&self, py: Python<'py>) -> Bound<'py, PyArrayDyn<u8>> {
        let palette = self.0.palette();
        let bytes: Vec<u8> = (0..palette.n_vocab()).flat_map(|token| palette.bytes(token as u16)).collect();
        array(py, bytes, &[palette.n_vocab(), 3])
    }

    #[getter]
    fn channels(&self) -> usize {
        self.0.palette().channels()
    }

    fn save(&self, path: PathBuf) -> PyResult<()> {
        self.0.palette().to_npy(path, ColorScale::Signed).map_err(raised)
    }
}
