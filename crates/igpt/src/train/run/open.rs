//! Opening a model by path: a model directory, or a run, whose newest checkpoint serves until it has a model.

use std::path::Path;
use std::time::SystemTime;

use crate::model::{ClassHead, ModelDir, ParamLayout};
use crate::palette::Palette;
use crate::train::checkpoint::{Checkpoint, Checkpoints};
use crate::train::run::dir::RunDir;
use crate::{Error, Result};

/// Number of attempts to read the newest checkpoint, since a training run removes older ones meanwhile.
const TRIES: usize = 3;

/// Opens the model at `path`: a model directory, a finished run, or the newest undamaged checkpoint of an unfinished
/// run.
///
/// For a checkpoint, the model has the exponential moving average of the weights, if the run keeps one, and a warning
/// is logged. The function writes nothing.
///
/// # Errors
/// As [`ModelDir::open`], and when the run has neither a model nor an undamaged checkpoint.
pub fn open_model_dir(path: impl AsRef<Path>) -> Result<ModelDir> {
    let path = path.as_ref();
    let run = RunDir::detached(path);
    let is_run = run.config().is_file() && !path.join("config.json").is_file();
    let model = ModelDir::locate(path).ok();
    if !is_run || model.as_deref().is_some_and(|model| !is_outdated(&run, model)) {
        return ModelDir::open(path);
    }
    let mut found = newest(&run);
    for _ in 1..TRIES {
        match found {
            Err(_) | Ok(None) => found = newest(&run),
            Ok(Some(_)) => break,
        }
    }
    match (found, model) {
        (Ok(Some((checkpoint, opened))), _) => {
            let state = match run.is_training() {
                true => "the run is still training",
                false => "the run has ended without writing its model (igpt pretrain or finetune --resume goes on)",
            };
            let step = checkpoint.meta.step;
            tracing::warn!("{}: using the checkpoint of step {step}: {state}", path.display());
            Ok(opened)
        }
        (_, Some(model)) => ModelDir::open(model),
        (Ok(None), None) => Err(Error::NotFound(format!(
            "{} has no model and no checkpoint yet: wait for the first one, or go on with the run by --resume",
            path.display()
        ))),
        (Err(error), None) => Err(error),
    }
}

/// Whether the run has gone on since its `model` was written; a run that is over has a summary.
fn is_outdated(run: &RunDir, model: &Path) -> bool {
    let written = |path: &Path| -> Option<SystemTime> { std::fs::metadata(path).ok()?.modified().ok() };
    let Ok(checkpoints) = Checkpoints::open_readonly(run.checkpoints()) else { return false };
    let newest = checkpoints.steps().ok().and_then(|steps| steps.last().copied());
    let saved = newest.and_then(|step| written(&checkpoints.path(step).join("complete")));
    match (saved, written(&model.join("model.safetensors"))) {
        (Some(saved), Some(model)) => !run.summary().is_file() && saved > model,
        _ => false,
    }
}

/// The newest undamaged checkpoint and its model; `None` if there is no checkpoint.
fn newest(run: &RunDir) -> Result<Option<(Checkpoint, ModelDir)>> {
    let Ok(checkpoints) = Checkpoints::open_readonly(run.checkpoints()) else { return Ok(None) };
    let mut first = None;
    for step in checkpoints.steps()?.into_iter().rev() {
        match Checkpoint::read(&checkpoints.path(step)).and_then(|read| Ok((model_of(run, &read)?, read))) {
            Ok((model, checkpoint)) => return Ok(Some((checkpoint, model))),
            Err(error) => first = first.or(Some(error)),
        }
    }
    first.map_or(Ok(None), Err)
}

/// The model with the weights of `checkpoint`.
fn model_of(run: &RunDir, checkpoint: &Checkpoint) -> Result<ModelDir> {
    let meta = &checkpoint.meta;
    let (config, finetune) = (&meta.config, meta.config.finetune.as_ref());
    let palette = Palette::open(run.palette())?;
    if palette.hash() != meta.palette_hash {
        return Err(Error::Mismatch(format!(
            "{} was trained with palette {}, but {} holds palette {}: put the right one back",
            checkpoint.path.display(),
            meta.palette_hash,
            run.palette().display(),
            palette.hash()
        )));
    }
    let Some(n_px) = config.model.n_px else {
        return Err(Error::format(&checkpoint.path, "its config has no model.n_px: it is of no run of igpt"));
    };
    // What the config does not set (norm, biases) comes from the model that the run started from.
    let source = config.starts_from().map(open_model_dir).transpose()?;
    let mut network = source.as_ref().map_or_else(|| config.network(n_px, palette.n_vocab()), |s| s.config.clone());
    network.n_vocab = palette.n_vocab();
    network.mask_prob = config.train.mask_prob.unwrap_or(network.mask_prob);
    network.class_head = None;
    if let Some(finetune) = finetune {
        let num_labels = checkpoint.shape("score.weight")?.and_then(|shape| shape.first().copied()).unwrap_or(0);
        let layer = finetune.class_layer.unwrap_or(network.n_layer);
        network.class_head = Some(ClassHead { num_labels, layer });
    }
    network.validate()?;
    let weights = checkpoint.weights(&ParamLayout::new(&network))?;
    let extra = source.map(|source| source.extra).unwrap_or_default();
    let mut model = ModelDir { config: network, palette, weights, extra };
    let classes = meta.data.as_ref().map(|data| data.classes.clone()).or_else(|| ModelDir::class_names(&run.model()));
    if let (Some(classes), true) = (classes, finetune.is_some()) {
        model.set_classes(&classes);
    }
    Ok(model)
}
