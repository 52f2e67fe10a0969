//! Features of a run's layers: a probe, saved or quick, and a map of the features.

use std::path::Path;
use std::time::SystemTime;

use super::pca::Pca;
use super::settings::{ReportProgress, ReportSettings};
use super::words::grouped;
use crate::data::{Dataset, Images};
use crate::device::{Engine, Pooling};
use crate::evaluate::{Layers, features};
use crate::model::ModelDir;
use crate::palette::Quantizer;
use crate::probe::{self, ProbeReport, Solver, probe};
use crate::ranks::Collective;
use crate::{Error, Result, files};

/// Number of images on the map.
const ON_MAP: usize = 500;
/// Number of classes with a colour of their own on the map.
const COLORED: usize = 9;

/// Probe of a run's layers, saved beside the run or made for the report.
#[derive(Clone, Debug)]
pub struct LayerProbes {
    /// Report of the probe.
    pub report: ProbeReport,
    /// Command that made the probe, if recorded.
    pub command: Option<String>,
    /// Whether the probe was made for this report with few images, rather than saved beside the run.
    pub quick: bool,
}

impl LayerProbes {
    /// The saved probe, if it is of this network's layers and this data set, or else a quick one if the settings ask
    /// for it.
    ///
    /// A saved probe that is older than the weights is ignored and noted in `absent`.
    pub(super) fn of(
        run: &Path,
        spec: &str,
        model: &ModelDir,
        dataset: &Dataset,
        settings: &ReportSettings,
        absent: &mut Vec<String>,
        progress: ReportProgress<'_>,
    ) -> Result<Option<Self>> {
        let saved = Self::saved(run, spec, model.config.n_layer, absent)?;
        if saved.is_some() {
            return Ok(saved);
        }
        if settings.probe_images == 0 {
            return Ok(None);
        }
        let quick = probe::ProbeSettings {
            layers: Layers::All,
            images: Some(settings.probe_images),
            held_out: Some((settings.probe_images / 2).max(1)),
            solver: Solver::Ridge,
            concat: None,
            labels_per_class: Vec::new(),
            seeds: 1,
            seed: settings.seed,
            options: settings.options,
        };
        Ok(Some(Self {
            report: probe(&mut Collective::solo(), model, dataset, &quick, progress)?,
            command: None,
            quick: true,
        }))
    }

    /// The probe in `run/probe/results.json`.
    ///
    /// If it is older than the weights, it is a probe of other weights, from before the run was resumed.
    pub(super) fn saved(run: &Path, spec: &str, n_layer: usize, absent: &mut Vec<String>) -> Result<Option<Self>> {
        let path = run.join("probe/results.json");
        if !path.is_file() {
            return Ok(None);
        }
        let wrong = |e: serde_json::Error| Error::format(&path, e.to_string());
        let text = files::read_to_string(&path)?;
        let value: serde_json::Value = serde_json::from_str(&text).map_err(wrong)?;
        let same = value["data"] == spec;
        let command = value["command"].as_str().map(String::from);
        let report: ProbeReport = serde_json::from_value(value).map_err(wrong)?;
        if !same || report.layers.iter().any(|layer| *layer > n_layer) {
            return Ok(None);
        }
        // A run without a model yet was probed at one of its checkpoints.
        let outdated = match ModelDir::locate(run) {
            Ok(model) => written(&path)? < weights_written(&model)?,
            Err(_) => true,
        };
        if outdated {
            absent.push(format!("The probe in {}: it is older than the weights.", path.display()));
            return Ok(None);
        }
        Ok(Some(Self { report, command, quick: false }))
    }

    /// Name of the probe's classifier.
    fn classifier(&self) -> &'static str {
        match self.report.solver {
            Solver::Lbfgs => "logistic regression",
            Solver::Sgd => "logistic regression by SGD",
            Solver::Ridge => "ridge regression",
            Solver::Knn => "nearest neighbours",
        }
    }

    /// Classifier and number of training images, without which accuracies can't be compared.
    pub(super) fn how(&self) -> String {
        format!("{}, {} training images", self.classifier(), grouped(self.report.images[0]))
    }
}

/// Modification time of a file.
fn written(path: &Path) -> Result<SystemTime> {
    path.metadata().and_then(|metadata| metadata.modified()).map_err(Error::io(path))
}

/// Modification time of the newest file of weights in a model directory.
fn weights_written(model: &Path) -> Result<SystemTime> {
    let mut newest = SystemTime::UNIX_EPOCH;
    for entry in model.read_dir().map_err(Error::io(model))? {
        let path = entry.map_err(Error::io(model))?.path();
        if path.extension().is_some_and(|end| end == "safetensors" || end == "bin") {
            newest = newest.max(written(&path)?);
        }
    }
    Ok(newest)
}

/// Point cloud of a feature map.
pub type PointCloud = Vec<(f64, f64)>;

/// Feature map: features of images in the plane of their first two principal components.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FeatureMap {
    /// Layer of the features.
    pub layer: usize,
    /// Points of each class, as (class, points), by decreasing number of points.
    ///
    /// Rare classes share one entry. Images without a class come last.
    pub classes: Vec<(String, PointCloud)>,
    /// Shares of the variance along the two components.
    pub explained: [f64; 2],
}

/// Map of some of `images`, spread evenly; `None` for fewer than three.
pub(super) fn map(
    engine: &mut dyn Engine,
    images: &Images,
    quantizer: &Quantizer,
    layer: usize,
    names: &[String],
    progress: ReportProgress<'_>,
) -> Result<Option<FeatureMap>> {
    let images = images.spread(ON_MAP);
    let (mut values, mut labels) = (Vec::new(), Vec::new());
    let mut take = |set: &crate::data::TokenSet, run: &[f32]| {
        values.extend_from_slice(run);
        labels.extend_from_slice(&set.labels);
        Ok(())
    };
    let mut told = |done| progress("features", done, images.len());
    features(&mut Collective::solo(), engine, &images, quantizer, (&[layer], Pooling::Mean), &mut take, &mut told)?;
    if labels.len() < 3 {
        return Ok(None);
    }
    let pca = Pca::fit(&values, engine.config().n_embd);
    let mut classes: Vec<(Option<u32>, PointCloud)> = Vec::new();
    for (label, point) in labels.iter().zip(&pca.points) {
        match classes.iter_mut().find(|(known, _)| known == label) {
            Some((_, points)) => points.push(*point),
            None => classes.push((*label, vec![*point])),
        }
    }
    classes.sort_by_key(|(label, points)| (label.is_none(), std::cmp::Reverse(points.len()), *label));
    let named = |label: Option<u32>| match label.map(|label| names.get(label as usize).cloned().ok_or(label)) {
        Some(Ok(name)) => name,
        Some(Err(label)) => format!("class {label}"),
        None => "without a class".into(),
    };
    // A single class too many gets a colour of its own instead of a group.
    let own = if classes.len() <= COLORED + 1 { classes.len() } else { COLORED };
    let rest: Vec<_> = classes.split_off(own).into_iter().flat_map(|(_, points)| points).collect();
    let mut classes: Vec<_> = classes.into_iter().map(|(label, points)| (named(label), points)).collect();
    if !rest.is_empty() {
        classes.push(("all others".into(), rest));
    }
    Ok(Some(FeatureMap { layer, classes, explained: pca.explained }))
}
