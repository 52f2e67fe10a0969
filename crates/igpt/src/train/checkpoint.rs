//! Checkpoints: all state that a run needs to resume to the same bits, written so that a crash never leaves half of
//! one.
//!
//! `checkpoints/step-00001000/` holds three kinds of files:
//!
//! - `state.safetensors`: the weights, their exponential moving average if the run keeps one, and the optimizer's
//!   moments. Tensors have Hugging Face's names and are little-endian f32, without the arena's padding, so that a
//!   change of padding does not outdate a checkpoint. Only tensors that Adam updates have second moments. With several
//!   ranks, the moments of the other ranks are in `state-1-of-2.safetensors` and so on.
//! - `checkpoint.toml`: [`CheckpointMeta`], with the SHA-256 of every other file.
//! - `complete`: the SHA-256 of `checkpoint.toml`. This file is written last.
//!
//! The directory is written under a temporary name, synced, and renamed.

mod source;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ::safetensors::View;
use serde::{Deserialize, Serialize};

use self::source::Source;
use crate::checksum::{sha256, sha256_file};
use crate::data::Fingerprint;
use crate::device::{EngineState, TrainEngine};
use crate::formats::safetensors;
use crate::model::{ParamLayout, ParamTensor};
use crate::train::config::planned::StepPlan;
use crate::train::config::{RunConfig, migrate};
use crate::train::trainer::time_spent::TimeSpent;
use crate::{Error, Result, files};

/// Version of the format. 2: the order of images is `data::Permutation`'s. 3: the images' fingerprint is stored.
const FORMAT: u32 = 3;
/// Oldest version that can be read; older ones are refused.
const OLDEST: u32 = 2;
pub(super) const STATE: &str = "state.safetensors";
pub(super) const META: &str = "checkpoint.toml";
const COMPLETE: &str = "complete";
const TEMPORARY: &str = ".writing-";

/// Metadata of a checkpoint: everything beside the weights and moments.
///
/// The state of the random number generator is the seed and the position, since every draw is a function of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CheckpointMeta {
    /// Version of the checkpoint format.
    pub format: u32,
    /// Optimizer steps taken.
    pub step: u64,
    /// Position in the endless sequence of training images.
    pub images: u64,
    /// Number of training images of the data set.
    pub train_images: usize,
    /// Seconds of training so far.
    pub elapsed_s: f64,
    /// Seconds of training by activity; zeros in older checkpoints, which lack the field.
    #[serde(default)]
    pub spent: TimeSpent,
    /// Hash of the palette of the tokens.
    pub palette_hash: String,
    /// Fingerprint of the images; `None` in checkpoints of format 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Fingerprint>,
    /// Step with the lowest validation loss so far; for a classifier, with the highest validation accuracy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_step: Option<u64>,
    /// Lowest validation loss so far, in nats per token; for a classifier, the lowest error rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_loss: Option<f64>,
    /// Lowest validation loss since the run was last extended, to which early stopping compares; unit as in
    /// `best_loss`.
    #[serde(default, alias = "best_loss_of_leg", skip_serializing_if = "Option::is_none")]
    pub best_loss_of_phase: Option<f64>,
    /// Validations since `best_loss_of_phase` that count against the patience of early stopping.
    ///
    /// Older checkpoints, which lack the field, start from 0.
    #[serde(default)]
    pub validations_since_best: u64,
    /// Number of images in each validation.
    ///
    /// It stays the same when the run is extended, so that losses are comparable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validated_images: Option<usize>,
    /// SHA-256 of each other file of the checkpoint, in hexadecimal, by file name.
    pub files: BTreeMap<String, String>,
    /// Plans that a run with a budget in minutes has made so far.
    #[serde(default)]
    pub plans: Vec<StepPlan>,
    /// Resolved config of the run.
    pub config: RunConfig,
}

impl CheckpointMeta {
    /// Metadata of a checkpoint after `step` steps, as far as the arguments determine it.
    ///
    /// [`Checkpoints::save`] completes `files`. The other fields have their defaults.
    pub fn new(step: u64, images: u64, train_images: usize, palette_hash: &str, config: &RunConfig) -> Self {
        Self {
            format: FORMAT,
            step,
            images,
            train_images,
            elapsed_s: 0.0,
            spent: TimeSpent::default(),
            palette_hash: palette_hash.into(),
            data: None,
            best_step: None,
            best_loss: None,
            best_loss_of_phase: None,
            validations_since_best: 0,
            validated_images: None,
            files: BTreeMap::new(),
            plans: Vec::new(),
            config: config.clone(),
        }
    }
}

/// Directory of a run's checkpoints.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    root: PathBuf,
}

/// A complete, verified checkpoint.
#[derive(Debug)]
pub struct Checkpoint {
    /// Directory of the checkpoint.
    pub path: PathBuf,
    /// Metadata of the checkpoint.
    pub meta: CheckpointMeta,
}

impl Checkpoints {
    /// Opens the checkpoints under `root`, a directory that is made if missing.
    ///
    /// Removes what a killed run left half written or half removed.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        fs::create_dir_all(&root).map_err(Error::io(&root))?;
        for name in names(&root)?.iter().filter(|name| name.starts_with(TEMPORARY)) {
            let path = root.join(name);
            fs::remove_dir_all(&path).map_err(Error::io(&path))?;
        }
        Ok(Self { root })
    }

    /// Opens the checkpoints under `root` read-only: it makes and removes nothing, so that a run may be in progress.
    ///
    /// # Errors
    /// When there is no such directory.
    pub fn open_readonly(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        match root.is_dir() {
            true => Ok(Self { root }),
            false => Err(Error::NotFound(format!("no checkpoints in {}: name a run directory", root.display()))),
        }
    }

    /// Steps of all finished checkpoints, oldest first; does not check whether they are damaged.
    pub fn steps(&self) -> Result<Vec<u64>> {
        let mut steps: Vec<u64> =
            names(&self.root)?.iter().filter_map(|name| name.strip_prefix("step-")?.parse().ok()).collect();
        steps.sort_unstable();
        Ok(steps)
    }

    /// Time since which a checkpoint is being written, or was when the run was killed; `None` if none is.
    pub fn writing_since(&self) -> Option<SystemTime> {
        let names = names(&self.root).ok()?.into_iter().filter(|name| name.starts_with(TEMPORARY));
        names.filter_map(|name| fs::metadata(self.root.join(name)).ok()?.modified().ok()).max()
    }

    /// Directory of the checkpoint after `step` steps.
    pub fn path(&self, step: u64) -> PathBuf {
        self.root.join(format!("step-{step:08}"))
    }

    /// Writes a checkpoint of `engine`'s state and makes the file `last` name it; returns its directory.
    ///
    /// On failure nothing half written stays, and the earlier checkpoints are unchanged. `meta.files` lists the
    /// optimizer shards that other ranks have already written.
    pub fn save(&self, engine: &dyn TrainEngine, meta: &CheckpointMeta) -> Result<PathBuf> {
        let path = self.path(meta.step);
        let temporary = self.root.join(format!("{TEMPORARY}{:08}", meta.step));
        let written = self.write(&temporary, &path, engine, meta);
        if written.is_err() {
            let _ = fs::remove_dir_all(&temporary);
        }
        written.map(|()| path)
    }

    fn write(&self, temporary: &Path, path: &Path, engine: &dyn TrainEngine, meta: &CheckpointMeta) -> Result<()> {
        fs::create_dir_all(temporary).map_err(Error::io(temporary))?;
        let state_path = temporary.join(STATE);
        write_state(&state_path, engine, &EngineState::ALL)?;
        let mut meta = meta.clone();
        meta.format = FORMAT;
        meta.files.insert(STATE.to_string(), sha256_file(&state_path)?);
        let text = toml::to_string(&meta).expect("a checkpoint's plain values have a TOML form");
        let complete = sha256(text.as_bytes()) + "\n";
        for (name, contents) in [(META, &text), (COMPLETE, &complete)] {
            files::write(&temporary.join(name), contents.as_bytes())?;
        }
        files::sync_directory(temporary)?;
        self.remove(path)?;
        fs::rename(temporary, path).map_err(Error::io(path))?;
        files::sync_directory(&self.root)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // For people who look at the directory; the checkpoint is complete without it.
        let _ = files::write(&self.root.join("last"), format!("{name}\n").as_bytes());
        Ok(())
    }

    /// Makes a directory for the shards of a checkpoint. [`Checkpoints::save`] writes the manifest after them.
    pub(super) fn begin(&self, step: u64) -> Result<()> {
        let temporary = self.root.join(format!("{TEMPORARY}{step:08}"));
        // Left by an earlier attempt.
        let _ = fs::remove_dir_all(&temporary);
        fs::create_dir_all(&temporary).map_err(Error::io(&temporary))
    }

    /// Removes the written part of a checkpoint that can't be finished.
    pub(super) fn abandon(&self, step: u64) {
        let _ = fs::remove_dir_all(self.root.join(format!("{TEMPORARY}{step:08}")));
    }

    /// Removes all checkpoints but the `keep_last` newest, the multiples of `keep_every` (0: none), and `best`.
    pub fn prune(&self, keep_last: usize, keep_every: u64, best: Option<u64>) -> Result<()> {
        let steps = self.steps()?;
        for &step in steps.iter().rev().skip(keep_last) {
            let kept = Some(step) == best || (keep_every > 0 && step.is_multiple_of(keep_every));
            if !kept {
                self.remove(&self.path(step))?;
            }
        }
        Ok(())
    }

    /// Removes a checkpoint if it exists. A kill in between leaves no half of it under its name.
    fn remove(&self, path: &Path) -> Result<()> {
        let Some(name) = path.file_name().filter(|_| path.exists()) else { return Ok(()) };
        let aside = self.root.join(format!("{TEMPORARY}{}", name.to_string_lossy()));
        fs::rename(path, &aside).map_err(Error::io(path))?;
        fs::remove_dir_all(&aside).map_err(Error::io(&aside))
    }

    /// Reads the newest undamaged checkpoint; `None` if no checkpoint was ever finished.
    ///
    /// Renames damaged checkpoints to `damaged-…`, and names each to `warn` with the reason.
    ///
    /// # Errors
    /// When there are checkpoints but all are damaged, and when the newest has another format version.
    pub fn newest(&self, warn: &mut dyn FnMut(&str)) -> Result<Option<Checkpoint>> {
        let steps = self.steps()?;
        for &step in steps.iter().rev() {
            let path = self.path(step);
            match Checkpoint::read(&path) {
                Ok(checkpoint) => return Ok(Some(checkpoint)),
                // It has another format version; as far as can be told it is undamaged.
                Err(error @ Error::Mismatch(_)) => return Err(error),
                Err(error) => {
                    warn(&format!("checkpoint is damaged and passed over: {error}"));
                    let aside = self.root.join(format!("damaged-step-{step:08}"));
                    let _ = fs::remove_dir_all(&aside);
                    fs::rename(&path, &aside).map_err(Error::io(&path))?;
                }
            }
        }
        if steps.is_empty() {
            return Ok(None);
        }
        Err(Error::Missing(format!(
            "all checkpoints in {} are damaged: start again with --overwrite",
            self.root.display()
        )))
    }
}

/// Writes the optimizer shard of one of several ranks into the directory that rank 0 has made; returns the file's name
/// and checksum.
pub(super) fn write_shard(
    root: &Path,
    step: u64,
    (rank, size): (usize, usize),
    engine: &dyn TrainEngine,
) -> Result<(String, String)> {
    let name = format!("state-{rank}-of-{size}.safetensors");
    let path = root.join(format!("{TEMPORARY}{step:08}")).join(&name);
    write_state(&path, engine, &[EngineState::Moment1, EngineState::Moment2])?;
    Ok((name, sha256_file(&path)?))
}

impl Checkpoint {
    /// Reads and verifies the checkpoint in `path`.
    ///
    /// The error names the damaged file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = |name: &str| files::read_to_string(&path.join(name));
        let meta_path = path.join(META);
        let meta_text = text(META)?;
        if text(COMPLETE)?.trim() != sha256(meta_text.as_bytes()) {
            return Err(Error::format(meta_path, format!("its checksum is not the one in `{COMPLETE}` beside it")));
        }
        let wrong = |e: toml::de::Error| Error::format(&meta_path, e.to_string().trim_end());
        let table: toml::Table = meta_text.parse().map_err(wrong)?;
        let format = table.get("format").and_then(toml::Value::as_integer).unwrap_or_default();
        if !(i64::from(OLDEST)..=i64::from(FORMAT)).contains(&format) {
            return Err(Error::Mismatch(format!(
                "{} is of format {format}, but this version reads {OLDEST} and {FORMAT}: go on with the version that wrote it, or start a \
                 new run",
                meta_path.display()
            )));
        }
        let table = with_todays_config(table).map_err(|e| Error::format(&meta_path, e.to_string()))?;
        let meta: CheckpointMeta = table.try_into().map_err(wrong)?;
        for (name, checksum) in &meta.files {
            let file = path.join(name);
            if *checksum != sha256_file(&file)? {
                return Err(Error::format(file, "its checksum is not the one it was written with"));
            }
        }
        Ok(Self { path: path.to_path_buf(), meta })
    }

    fn source(&self) -> Result<Source> {
        Source::open(self.meta.files.keys().map(|name| self.path.join(name)))
    }

    /// Exponential moving average (EMA) of the weights, in the order of `layout`; `None` if the run keeps none.
    ///
    /// # Errors
    /// When a tensor is missing, or has another shape.
    pub fn ema(&self, layout: &ParamLayout) -> Result<Option<Vec<f32>>> {
        if self.meta.config.train.ema == 0.0 {
            return Ok(None);
        }
        self.values(EngineState::Ema, layout).map(Some)
    }

    /// Weights of this step's model, in the order of `layout`: their exponential moving average if the run keeps one.
    ///
    /// # Errors
    /// When a tensor is missing, or has another shape.
    pub fn weights(&self, layout: &ParamLayout) -> Result<Vec<f32>> {
        self.ema(layout)?.map_or_else(|| self.values(EngineState::Weights, layout), Ok)
    }

    /// All tensors of one kind of state.
    fn values(&self, state: EngineState, layout: &ParamLayout) -> Result<Vec<f32>> {
        let source = self.source()?;
        let mut values = vec![0.0; layout.parameters()];
        for tensor in layout.tensors() {
            let stored = source.find(&self.path, &format!("{}.{}", state.name(), tensor.name), &tensor.shape)?;
            layout.import(tensor, &stored.read()?, &mut values)?;
        }
        Ok(values)
    }

    /// Shape of the tensor `name` among the weights; `None` if there is no such tensor.
    ///
    /// # Errors
    /// When a file of the checkpoint can't be read.
    pub(super) fn shape(&self, name: &str) -> Result<Option<Vec<usize>>> {
        Ok(self.source()?.shape(&format!("weights.{name}")))
    }

    /// Restores the weights and moments to an engine of the same shape and optimizer.
    ///
    /// It copies one tensor after the other, so that memory never holds a second copy of all.
    ///
    /// # Errors
    /// When shape or optimizer differ; the engine is then unchanged.
    pub fn restore(self, engine: &mut dyn TrainEngine) -> Result<()> {
        let (optimizer, own) = (self.meta.config.train.optimizer.kind(), engine.optimizer());
        if optimizer != own {
            let (theirs, own) = (optimizer.name(), own.name());
            let problem =
                format!("its moments are {theirs}'s, but the engine was opened for {own}: train with {theirs}");
            return Err(Error::Mismatch(format!("{}: {problem}", self.path.display())));
        }
        let source = self.source()?;
        let find = |state: EngineState, tensor: &ParamTensor| {
            source.find(&self.path, &format!("{}.{}", state.name(), tensor.name), &tensor.shape)
        };
        for state in EngineState::ALL {
            engine.tensors(state).iter().try_for_each(|tensor| find(state, tensor).map(|_| ()))?;
        }
        engine.import(self.meta.step, &mut |state, tensor| find(state, tensor)?.read())
    }
}

/// Brings the config in a checkpoint's metadata, of any version, into the present form.
pub(super) fn with_todays_config(mut meta: toml::Table) -> Result<toml::Table> {
    if let Some(toml::Value::Table(config)) = meta.remove("config") {
        meta.insert("config".into(), migrate::today(config)?.into());
    }
    Ok(meta)
}

/// One tensor of a state, which is exported only while it is being written.
struct Exported<'a> {
    engine: &'a dyn TrainEngine,
    state: EngineState,
    tensor: ParamTensor,
}

impl View for Exported<'_> {
    fn dtype(&self) -> ::safetensors::Dtype {
        ::safetensors::Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.tensor.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let values = self.engine.export(self.state, &self.tensor).expect("the engine has named this tensor");
        Cow::Owned(values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    fn data_len(&self) -> usize {
        4 * self.tensor.len()
    }
}

/// Writes the tensors of these states that `engine` holds, each under its name.
fn write_state(path: &Path, engine: &dyn TrainEngine, states: &[EngineState]) -> Result<()> {
    let tensors = states.iter().flat_map(|&state| {
        let named = move |tensor: ParamTensor| {
            (format!("{}.{}", state.name(), tensor.name), Exported { engine, state, tensor })
        };
        engine.tensors(state).into_iter().map(named)
    });
    safetensors::write(path, &[], &tensors.collect::<Vec<_>>())
}

fn names(directory: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(directory).map_err(Error::io(directory))?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
}
