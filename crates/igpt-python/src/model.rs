//! `igpt.Model`: a model with its engine, behind a lock, so that several threads may call it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use igpt::data::Images;
use igpt::device::{Device, EngineOptions, Pooling, Precision};
use igpt::evaluate::Layers;
use igpt::generate::{FillSettings, SamplingSettings};
use igpt::image::{ImageSize, Pixels};
use igpt::model::ModelConfig;
use numpy::{PyArrayDyn, PyReadonlyArray2, PyUntypedArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::arrays::{Arrays, array, images, stacked};
use crate::errors::raised;
use crate::palette::Palette;
use crate::running::{Interrupts, detached, in_turns};

/// A trained model on a device.
#[pyclass(frozen, module = "igpt._igpt")]
pub(crate) struct Model {
    inner: Mutex<igpt::Model>,
    // Beside the lock: a model that computes for another thread answers no question.
    config: ModelConfig,
    palette: igpt::palette::Palette,
    classes: Vec<String>,
}

impl Model {
    pub(crate) fn new(model: igpt::Model) -> Self {
        let (config, palette, classes) = (model.config().clone(), model.palette().clone(), model.classes());
        Self { inner: Mutex::new(model), config, palette, classes }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, igpt::Model> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn size(&self) -> ImageSize {
        self.config.n_px
    }

    /// What `work` finds of each image. Some images at a time, so that Ctrl-C is noticed.
    fn of_images<T: Send>(
        &self,
        py: Python<'_>,
        images: &Images,
        work: impl Fn(&mut igpt::Model, &Images) -> igpt::Result<Vec<T>> + Sync,
    ) -> PyResult<Vec<T>> {
        detached(py, || {
            let mut model = self.lock();
            let mut found = Vec::new();
            in_turns(images.len(), |turn| {
                found.extend(work(&mut model, &images.pick(turn))?);
                Ok(())
            })?;
            Ok(found)
        })
    }
}

/// Options of an engine by their names in flags.
pub(crate) fn options(device: &str, precision: Option<&str>, threads: usize) -> PyResult<EngineOptions> {
    let device: Device = device.parse().map_err(raised)?;
    let named = |name: &str| Precision::ALL.into_iter().find(|precision| precision.name() == name);
    let precision = match precision {
        None => Precision::F32,
        Some(name) => named(name).ok_or_else(|| {
            let names = Precision::ALL.map(Precision::name).join(", ");
            PyValueError::new_err(format!("no precision is called {name:?}: take one of {names}"))
        })?,
    };
    Ok(EngineOptions::new(precision).device(device).threads(threads))
}

fn settings(seed: u64, temperature: f64, top_k: usize, top_p: f64) -> PyResult<SamplingSettings> {
    let settings = SamplingSettings::default().seed(seed).temperature(temperature).top_k(top_k).top_p(top_p);
    settings.validate().map_err(raised)?;
    Ok(settings)
}

#[pymethods]
impl Model {
    /// Opens a model directory or a run; without a path the emoji model that comes with igpt.
    #[staticmethod]
    #[pyo3(signature = (path, device, precision, threads))]
    fn open(
        py: Python<'_>,
        path: Option<PathBuf>,
        device: &str,
        precision: Option<&str>,
        threads: usize,
    ) -> PyResult<Self> {
        let options = options(device, precision, threads)?;
        detached(py, || match path {
            Some(path) => igpt::Model::open_with(path, &options).map(Self::new),
            None => igpt::Model::from_model_dir(igpt::model::ModelDir::bundled()?, &options).map(Self::new),
        })
    }

    #[getter]
    fn n_px(&self) -> (usize, usize) {
        (self.size().height, self.size().width)
    }

    #[getter]
    fn n_vocab(&self) -> usize {
        self.config.n_vocab
    }

    #[getter]
    fn n_layer(&self) -> usize {
        self.config.n_layer
    }

    #[getter]
    fn n_head(&self) -> usize {
        self.config.n_head
    }

    #[getter]
    fn n_embd(&self) -> usize {
        self.config.n_embd
    }

    #[getter]
    fn channels(&self) -> usize {
        self.palette.channels()
    }

    #[getter]
    fn parameters(&self) -> u64 {
        self.config.parameters() as u64
    }

    #[getter]
    fn objective(&self) -> &'static str {
        self.config.objective.name()
    }

    #[getter]
    fn classes(&self) -> Vec<String> {
        self.classes.clone()
    }

    #[getter]
    fn palette(&self) -> Palette {
        Palette::new(self.palette.clone())
    }

    /// Samples, uint8 (n, height, width, channels).
    fn sample<'py>(
        &self,
        py: Python<'py>,
        n: usize,
        seed: u64,
        temperature: f64,
        top_k: usize,
        top_p: f64,
    ) -> PyResult<Bound<'py, PyArrayDyn<u8>>> {
        let settings = settings(seed, temperature, top_k, top_p)?;
        let mut interrupts = Interrupts::new();
        let images = detached(py, || {
            let mut model = self.lock();
            let drawn = model.sample_tokens(n, &settings, &mut |_, _| interrupts.look())?;
            Ok(drawn.iter().map(|tokens| model.pixels(tokens)).collect())
        })?;
        Ok(stacked(py, images, &[n], self.size(), self.channels()))
    }

    /// Completions of images of which the pixels in `known` (height, width) are kept: uint8
    /// (images, attempts, height, width, channels).
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    fn complete<'py>(
        &self,
        py: Python<'py>,
        arrays: Arrays<'py>,
        known: PyReadonlyArray2<'py, bool>,
        attempts: usize,
        candidates: usize,
        rounds: usize,
        seed: u64,
        temperature: f64,
        top_k: usize,
        top_p: f64,
    ) -> PyResult<Bound<'py, PyArrayDyn<u8>>> {
        let settings = settings(seed, temperature, top_k, top_p)?;
        let size = self.size();
        if known.shape() != [size.height, size.width] {
            return Err(PyValueError::new_err(format!(
                "the mask has the shape {:?}, but the model's images have {size} pixels",
                known.shape()
            )));
        }
        let kept: Vec<bool> = known.as_array().iter().copied().collect();
        if kept.iter().all(|kept| *kept) {
            return Err(PyValueError::new_err("nothing is left to draw: every pixel is given"));
        }
        let images = images(&arrays)?;
        let count = images.len();
        if attempts == 0 {
            return Ok(stacked(py, Vec::new(), &[count, 0], size, self.channels()));
        }
        let mut interrupts = Interrupts::new();
        let drawn: Vec<Pixels> = detached(py, || {
            let mut model = self.lock();
            let set = model.tokens(&images)?;
            let known = |i: usize| {
                set.image(i).iter().zip(&kept).map(|(token, kept)| kept.then_some(*token)).collect::<Vec<_>>()
            };
            let filling = FillSettings::default().attempts(attempts).candidates(candidates).rounds(rounds);
            let known = (0..count).map(known).collect();
            let drawn = model.complete_tokens(known, filling, &settings, &mut |_, _| interrupts.look())?;
            Ok(drawn.iter().map(|tokens| model.pixels(tokens)).collect())
        })?;
        Ok(stacked(py, drawn, &[count, attempts], size, self.channels()))
    }

    /// Log-likelihood of each image in nats, float64 (images).
    fn log_likelihood<'py>(&self, py: Python<'py>, arrays: Arrays<'py>) -> PyResult<Bound<'py, PyArrayDyn<f64>>> {
        let images = images(&arrays)?;
        let nats = self.of_images(py, &images, |model, images| model.log_likelihood(images))?;
        let shape = [nats.len()];
        Ok(array(py, nats, &shape))
    }

    /// Log-likelihood of each pixel in nats, float32 (images, height, width).
    fn log_likelihood_per_pixel<'py>(
        &self,
        py: Python<'py>,
        arrays: Arrays<'py>,
    ) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
        let images = images(&arrays)?;
        let nats = self.of_images(py, &images, |model, images| model.log_likelihood_per_pixel(images))?;
        let shape = [nats.len(), self.size().height, self.size().width];
        Ok(array(py, nats.concat(), &shape))
    }

    /// Features, float32 (images, layers, n_embd), or (images, layers, T, n_embd) without pooling.
    fn features<'py>(
        &self,
        py: Python<'py>,
        arrays: Arrays<'py>,
        layers: Option<Vec<usize>>,
        pool: &str,
    ) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
        let images = images(&arrays)?;
        let pooling = Pooling::ALL.into_iter().find(|pooling| pooling.name() == pool).ok_or_else(|| {
            let names = Pooling::ALL.map(Pooling::name).join(", ");
            PyValueError::new_err(format!("no pooling is called {pool:?}: take one of {names}"))
        })?;
        let count = layers.as_ref().map_or(self.config.n_layer + 1, Vec::len);
        let layers = layers.map_or(Layers::All, Layers::Only);
        let features =
            self.of_images(py, &images, |model, images| Ok(model.pooled_features(images, &layers, pooling)?.values))?;
        let mut shape = vec![images.len(), count, self.config.n_embd];
        if pooling == Pooling::None {
            shape.insert(2, self.config.n_ctx());
        }
        Ok(array(py, features, &shape))
    }

    /// Class probabilities, float64 (images, classes), and the predicted classes, uint32 (images).
    #[expect(clippy::type_complexity, reason = "two arrays")]
    fn classify<'py>(
        &self,
        py: Python<'py>,
        arrays: Arrays<'py>,
    ) -> PyResult<(Bound<'py, PyArrayDyn<f64>>, Bound<'py, PyArrayDyn<u32>>)> {
        let images = images(&arrays)?;
        let found = self.of_images(py, &images, |model, images| model.classify(images))?;
        let classes: Vec<u32> = found.iter().map(|one| one.class).collect();
        let width = found.first().map_or(0, |one| one.probabilities.len());
        let probabilities = found.into_iter().flat_map(|one| one.probabilities).collect();
        let count = classes.len();
        Ok((array(py, probabilities, &[count, width]), array(py, classes, &[count])))
    }

    /// Fits an anomaly detector to good images.
    fn fit_inspection(&self, py: Python<'_>, good: &crate::dataset::Dataset) -> PyResult<()> {
        detached(py, || self.lock().fit_inspection(&good.0).map(|_| ()))
    }

    /// The score above which an image is odd, at a rate of false alarms.
    fn threshold(&self, py: Python<'_>, false_alarms: f64) -> PyResult<f64> {
        detached(py, || self.lock().inspection()?.threshold(false_alarms))
    }

    /// Score, percentile and p-value of each image, float64 (images) each, and the maps, float32 (height, width) each.
    #[expect(clippy::type_complexity, reason = "four arrays")]
    fn inspect<'py>(
        &self,
        py: Python<'py>,
        arrays: Arrays<'py>,
    ) -> PyResult<([Bound<'py, PyArrayDyn<f64>>; 3], Vec<Bound<'py, PyArrayDyn<f32>>>)> {
        let images = images(&arrays)?;
        let found = self.of_images(py, &images, |model, images| model.inspect(images))?;
        let column = |value: fn(&igpt::inspect::InspectionResult) -> f64| {
            array(py, found.iter().map(value).collect(), &[found.len()])
        };
        let columns = [column(|one| one.score), column(|one| one.percentile), column(|one| one.p_value)];
        let maps = found.iter().map(|one| {
            let size = one.map.size;
            array(py, one.map.values.iter().map(|value| *value as f32).collect(), &[size.height, size.width])
        });
        Ok((columns, maps.collect()))
    }

    /// Tokens, uint16 (images, height, width).
    fn tokens<'py>(&self, py: Python<'py>, arrays: Arrays<'py>) -> PyResult<Bound<'py, PyArrayDyn<u16>>> {
        let images = images(&arrays)?;
        let set = detached(py, || self.lock().tokens(&images))?;
        let tokens: Vec<u16> = (0..set.images()).flat_map(|i| set.image(i).to_vec()).collect();
        Ok(array(py, tokens, &[set.images(), self.size().height, self.size().width]))
    }

    /// The images of tokens (images, T) as rows: uint8 (images, height, width, channels).
    fn pixels<'py>(&self, py: Python<'py>, tokens: PyReadonlyArray2<'py, u16>) -> PyResult<Bound<'py, PyArrayDyn<u8>>> {
        let (n_ctx, n_vocab) = (self.config.n_ctx(), self.config.n_vocab);
        if tokens.shape()[1] != n_ctx {
            let found = tokens.shape()[1];
            return Err(PyValueError::new_err(format!("an image has {found} tokens, but the model's have {n_ctx}")));
        }
        let all: Vec<u16> = tokens.as_array().iter().copied().collect();
        if let Some(token) = all.iter().find(|token| usize::from(**token) >= n_vocab) {
            return Err(PyValueError::new_err(format!("token {token} is none of the {n_vocab} colours")));
        }
        let images = detached(py, || {
            let model = self.lock();
            Ok(all.chunks_exact(n_ctx).map(|tokens| model.pixels(tokens)).collect::<Vec<Pixels>>())
        })?;
        let count = images.len();
        Ok(stacked(py, images, &[count], self.size(), self.channels()))
    }

    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        detached(py, || self.lock().save(path))
    }

    /// The files of the model directory by name, for pickles.
    fn files<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let files = detached(py, || {
            let folder = tempfile::tempdir().map_err(igpt::Error::io("the system's temporary files"))?;
            let path = folder.path().join("model");
            self.lock().save(&path)?;
            let mut files = BTreeMap::new();
            for entry in std::fs::read_dir(&path).map_err(igpt::Error::io(&path))? {
                let entry = entry.map_err(igpt::Error::io(&path))?;
                let bytes = std::fs::read(entry.path()).map_err(igpt::Error::io(entry.path()))?;
                files.insert(entry.file_name().to_string_lossy().into_owned(), bytes);
            }
            Ok(files)
        })?;
        let dict = PyDict::new(py);
        for (name, bytes) in files {
            dict.set_item(name, PyBytes::new(py, &bytes))?;
        }
        Ok(dict)
    }

    /// The model of [`Model::files`].
    #[staticmethod]
    fn of_files(
        py: Python<'_>,
        files: BTreeMap<String, Vec<u8>>,
        device: &str,
        precision: Option<&str>,
        threads: usize,
    ) -> PyResult<Self> {
        let options = options(device, precision, threads)?;
        detached(py, || {
            let folder = tempfile::tempdir().map_err(igpt::Error::io("the system's temporary files"))?;
            for (name, bytes) in files {
                let path = folder.path().join(PathBuf::from(name).file_name().unwrap_or_default());
                std::fs::write(&path, bytes).map_err(igpt::Error::io(&path))?;
            }
            igpt::Model::open_with(folder.path(), &options).map(Self::new)
        })
    }
}
