//! Files of a fit in a model directory: `inspect.json`, and the tensors that it names.
//!
//! The tensors' file is named by its contents and written first, so that a crash at any moment leaves a complete fit:
//! the old one until the new `inspect.json` is in its place. Files of earlier fits are removed last.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use safetensors::View as Tensor;
use serde::{Deserialize, Serialize};

use super::bank::FeatureBank;
use super::conformal::ConformalScores;
use super::exact_values::{ExactValueSurprise, symbols};
use super::fit::{FitRecord, InspectionFit, identity};
use super::picture::InputMode;
use super::score::Score;
use super::typical::{FilterSizes, FilterStatistics};
use crate::checksum::{sha256, sha256_file};
use crate::evaluate::{ContextCount, NgramBaselines, Vectors};
use crate::formats::safetensors::{self as format, Header};
use crate::model::ModelDir;
use crate::model::dir::{INSPECTION, is_inspection};
use crate::{Error, Result, files};

/// Version of the files; other versions are refused.
const VERSION: u32 = 1;
const AGAIN: &str = "run igpt inspect fit again, or remove inspect.json";
const OTHER: &str = "the fit is another model's, or the weights have changed since";
const SYMBOLS: &str = "reference.symbols";
const TIMES: &str = "reference.times";
const CENTRE: &str = "statistics.centre";
const SCALE: &str = "statistics.scale";
const BANK: &str = "bank.features";
const MOMENTS: &str = "bank.moments";
const WITHIN: &str = "within";
const PICTURES: &str = "pictures";

/// Contents of `inspect.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    version: u32,
    /// Identity of the model.
    model: String,
    view: InputMode,
    score: Score,
    used: FitRecord,
    brightest: f64,
    /// Sizes of the filters of the statistics.
    filters: Option<FilterSizes>,
    /// Name of the file of tensors.
    tensors: String,
    /// SHA-256 of the tensors.
    sha256: String,
    /// Scores in ascending order.
    held_out_scores: Vec<f64>,
}

impl Text {
    /// Reads `inspect.json` in the model directory `dir`; `None` if there is none.
    ///
    /// # Errors
    /// When it can't be read, or is no fit of this version.
    fn read(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(INSPECTION);
        if !path.exists() {
            return Ok(None);
        }
        let bad = |problem: String| Error::format(&path, format!("{problem}: {AGAIN}"));
        let text: Self = serde_json::from_str(&files::read_to_string(&path)?)
            .map_err(|e| bad(format!("not the fit of igpt inspect ({e})")))?;
        match text.version {
            VERSION => Ok(Some(text)),
            version => Err(bad(format!("version {version} of the file, but this igpt reads {VERSION}"))),
        }
    }
}

impl InspectionFit {
    /// Opens the fit in the model directory `dir` of `model`; `None` if there is none.
    ///
    /// # Errors
    /// When it can't be read, is damaged, or belongs to another model.
    pub fn open(dir: &Path, model: &ModelDir) -> Result<Option<Self>> {
        let Some(text) = Text::read(dir)? else { return Ok(None) };
        let path = dir.join(INSPECTION);
        let bad = |problem: &dyn std::fmt::Display| Error::format(&path, format!("{problem}: {AGAIN}"));
        if text.model != identity(model) {
            return Err(bad(&OTHER));
        }
        if !is_inspection(&text.tensors) {
            return Err(bad(&format!("{:?} is not the name of a file of tensors", text.tensors)));
        }
        let tensors = dir.join(&text.tensors);
        if sha256_file(&tensors)? != text.sha256 {
            return Err(Error::format(&tensors, format!("damaged, its checksum is another: {AGAIN}")));
        }
        let held_out = ConformalScores::new(text.held_out_scores).map_err(|e| bad(&e))?;
        if held_out.scores().len() != text.used.held_out || !text.brightest.is_finite() {
            return Err(bad(&"its numbers do not fit together"));
        }
        let stored = Stored { header: format::read_header(&tensors)?, path: &tensors };
        let reference = stored.reference(model.config.n_vocab)?;
        let within = stored.within(model)?;
        let statistics = stored.statistics(text.filters)?;
        if text.score.needs_statistics() && statistics.is_none() {
            return Err(bad(&format!("the score {} has no statistics", text.score)));
        }
        let bank = stored.bank(model.config.n_embd)?.map(Arc::new);
        if text.score.needs_bank() && bank.is_none() {
            return Err(bad(&format!("the score {} has no bank of features", text.score)));
        }
        let pictures = stored.pictures()?;
        let Text { model, view, score, used, brightest, .. } = text;
        Ok(Some(Self { model, view, score, held_out, brightest, used, reference, within, statistics, bank, pictures }))
    }

    /// Finds the fit of the model at `path`, a model directory or a run directory, for purposes that don't require
    /// one.
    ///
    /// Returns `None` if there is none, and with a warning if it belongs to another model. (A run that goes on is
    /// opened by its newest checkpoint, while the model directory still has the fit of the earlier model.)
    ///
    /// # Errors
    /// When it can't be read or is damaged.
    pub fn find(path: &Path, model: &ModelDir) -> Result<Option<Self>> {
        let Ok(dir) = ModelDir::locate(path) else { return Ok(None) };
        if Text::read(&dir)?.is_some_and(|text| text.model != identity(model)) {
            let fit = dir.join(INSPECTION);
            tracing::warn!(
                "{}: {OTHER}, so that it is not used: when training is over, run igpt inspect fit --model {} --data GOOD",
                fit.display(),
                path.display()
            );
            return Ok(None);
        }
        Self::open(&dir, model)
    }

    /// Opens the fit in the model directory `dir`, which must have one.
    ///
    /// # Errors
    /// As [`InspectionFit::open`], and when there is none.
    pub fn expect(dir: &Path, model: &ModelDir) -> Result<Self> {
        Self::open(dir, model)?.ok_or_else(|| {
            let dir = dir.display();
            Error::Missing(format!("no fit in {dir}: run igpt inspect fit --model {dir} --data GOOD first"))
        })
    }

    /// Saves the fit in the model directory `dir`, in place of an earlier one.
    ///
    /// # Errors
    /// When it can't be written; the earlier one is then unchanged.
    pub fn save(&self, dir: &Path) -> Result<()> {
        let tensors = self.tensors();
        let digest = sha256(&tensors.iter().flat_map(|(_, tensor)| tensor.data().into_owned()).collect::<Vec<u8>>());
        let name = format!("inspect-{}.safetensors", &digest[..12]);
        let path = dir.join(&name);
        format::write(&path, &[("igpt_inspect", "1")], &tensors)?;
        let text = Text {
            version: VERSION,
            model: self.model.clone(),
            view: self.view,
            score: self.score,
            used: self.used.clone(),
            brightest: self.brightest,
            filters: self.statistics.as_ref().map(|statistics| statistics.filters),
            sha256: sha256_file(&path)?,
            tensors: name.clone(),
            held_out_scores: self.held_out.scores().to_vec(),
        };
        let json =
            serde_json::to_string_pretty(&text).map_err(|e| Error::Invalid(format!("the fit has no JSON: {e}")))?;
        files::write(&dir.join(INSPECTION), format!("{json}\n").as_bytes())?;
        for entry in std::fs::read_dir(dir).map_err(Error::io(dir))?.flatten() {
            let other = entry.file_name();
            if other.to_str().is_some_and(|other| is_inspection(other) && other != name) {
                files::remove(&entry.path())?;
            }
        }
        Ok(())
    }

    fn tensors(&self) -> Vec<(String, Values)> {
        let counts = self.reference.counts();
        let symbols = counts.iter().flat_map(|count| [count.left, count.above, count.token]).collect();
        let times = counts.iter().map(|count| u32::try_from(count.times).unwrap_or(u32::MAX)).collect();
        let pictures = self.pictures.iter().flat_map(|key| [*key as u32, (*key >> 32) as u32]).collect();
        let mut tensors = vec![
            (SYMBOLS, Values::u32(symbols, 3)),
            (TIMES, Values::u32(times, 1)),
            (PICTURES, Values::u32(pictures, 2)),
            (WITHIN, Values::f32(&self.within.nats)),
        ];
        if let Some(statistics) = &self.statistics {
            tensors.push((CENTRE, Values::f32(&statistics.centre)));
            tensors.push((SCALE, Values::f32(&statistics.scale)));
        }
        if let Some(FeatureBank { moments, points }) = self.bank.as_deref() {
            tensors.push((BANK, Values::f32(&points.values)));
            tensors.push((MOMENTS, Values::f32(&moments.iter().flat_map(|(a, b)| [*a, *b]).collect::<Vec<_>>())));
        }
        tensors.into_iter().map(|(name, values)| (name.to_owned(), values)).collect()
    }
}

/// Tensor to be written.
struct Values {
    dtype: safetensors::Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Values {
    fn u32(values: Vec<u32>, columns: usize) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { dtype: safetensors::Dtype::U32, shape: vec![values.len() / columns, columns], bytes }
    }

    fn f32(values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { dtype: safetensors::Dtype::F32, shape: vec![values.len()], bytes }
    }
}

impl Tensor for Values {
    fn dtype(&self) -> safetensors::Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Opened file of tensors.
struct Stored<'a> {
    header: Header,
    path: &'a Path,
}

impl Stored<'_> {
    fn bad(&self, problem: impl Into<String>) -> Error {
        Error::format(PathBuf::from(self.path), problem)
    }

    fn tensor(&self, name: &str) -> Option<&crate::formats::stored::Stored> {
        self.header.tensors.iter().find(|tensor| tensor.name == name)
    }

    fn u32(&self, name: &str) -> Result<Vec<u32>> {
        self.tensor(name).ok_or_else(|| self.bad(format!("no tensor {name}: run igpt inspect fit again")))?.read_u32()
    }

    fn reference(&self, n_vocab: usize) -> Result<NgramBaselines> {
        let (symbols, times) = (self.u32(SYMBOLS)?, self.u32(TIMES)?);
        if symbols.len() != 3 * times.len() {
            return Err(self.bad(format!("{SYMBOLS} and {TIMES} do not fit together: run igpt inspect fit again")));
        }
        let counts = symbols.chunks_exact(3).zip(&times).map(|(symbols, &times)| ContextCount {
            left: symbols[0],
            above: symbols[1],
            token: symbols[2],
            times: times.into(),
        });
        NgramBaselines::from_counts(counts, n_vocab).map_err(|e| self.bad(e.to_string()))
    }

    fn within(&self, model: &ModelDir) -> Result<ExactValueSurprise> {
        let stored = self.tensor(WITHIN).ok_or_else(|| self.bad("no tensor within: run igpt inspect fit again"))?;
        let nats = stored.read()?;
        if nats.len() != symbols(&model.palette) {
            return Err(self.bad(format!("{WITHIN} is not of the model's palette: run igpt inspect fit again")));
        }
        Ok(ExactValueSurprise { nats })
    }

    fn statistics(&self, filters: Option<FilterSizes>) -> Result<Option<FilterStatistics>> {
        let (Some(centre), Some(scale), Some(filters)) = (self.tensor(CENTRE), self.tensor(SCALE), filters) else {
            return Ok(None);
        };
        let statistics = FilterStatistics { filters, centre: centre.read()?, scale: scale.read()? };
        let fits = [&statistics.centre, &statistics.scale].iter().all(|values| values.len() == FilterStatistics::LEN);
        let has_sizes = [filters.line, filters.smooth, filters.spot].iter().all(|side| (1..1000).contains(side));
        if !fits || !has_sizes || statistics.scale.iter().any(|scale| *scale < 0.0) {
            return Err(self.bad(format!("{CENTRE} and {SCALE} are no statistics: run igpt inspect fit again")));
        }
        Ok(Some(statistics))
    }

    fn bank(&self, n_embd: usize) -> Result<Option<FeatureBank>> {
        let (Some(values), Some(moments)) = (self.tensor(BANK), self.tensor(MOMENTS)) else { return Ok(None) };
        let points = Vectors { dim: n_embd, values: values.read()? };
        let moments: Vec<(f32, f32)> = moments.read()?.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        if points.is_empty() || points.len() * n_embd != points.values.len() || moments.len() != n_embd {
            return Err(self.bad(format!("{BANK} and {MOMENTS} are no bank: run igpt inspect fit again")));
        }
        Ok(Some(FeatureBank { moments, points }))
    }

    fn pictures(&self) -> Result<Vec<u64>> {
        let halves = self.u32(PICTURES)?;
        Ok(halves.chunks_exact(2).map(|half| u64::from(half[0]) | u64::from(half[1]) << 32).collect())
    }
}
