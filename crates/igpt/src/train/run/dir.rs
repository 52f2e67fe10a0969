//! Run directory: the paths of its files, protection from unintended overwriting, and the lock of the process that
//! trains in it.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::text::one_line;
use crate::train::config::{Overrides, Recipe};
use crate::train::run::lock::{self, Lock};
use crate::{Error, Result, files};

/// Mode of starting a run, for a run directory that may already exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Start a new run: the directory must not exist, or be empty.
    New,
    /// Replace an earlier run; it is removed as soon as the new one begins to train.
    Overwrite,
    /// Resume the run in the directory from its newest undamaged checkpoint.
    Resume,
}

/// Directory of one run.
#[derive(Clone, Debug)]
pub struct RunDir {
    root: PathBuf,
    lock: Option<Lock>,
    /// Whether another process writes the directory.
    detached: bool,
    /// Whether an earlier run in the directory is removed when this one begins.
    overwrites: bool,
}

/// All files that a run, or a report on it, writes.
const FILES: [&str; 7] = [
    "config.resolved.toml",
    "preprocessor_config.json",
    "metrics.jsonl",
    "train.log",
    "index.html",
    "baselines.json",
    "summary.json",
];
const FOLDERS: [&str; 4] = ["checkpoints", "samples", "model", "probe"];
/// Directory of the runs of a learning-rate search.
pub(crate) const LR_SEARCH: &str = "lr-search";

impl RunDir {
    /// Creates or takes over `root`, and locks it against other training processes until the last clone is dropped.
    ///
    /// An earlier run in it stays until the new one begins to train.
    ///
    /// # Errors
    /// When `root` is not empty and `start` is `New`; when there is no run and `start` is `Resume`; when `start` is
    /// `Overwrite` and `root` holds something that is not a run; when another process is training in it; when the
    /// directory can't be written to.
    pub fn open(root: impl Into<PathBuf>, start: Start) -> Result<Self> {
        let mut run = Self { root: root.into(), lock: None, detached: false, overwrites: start == Start::Overwrite };
        if start != Start::New && run.config().exists() {
            run.lock = Lock::take(&run.root)?;
        }
        run.expect_usable(start)?;
        fs::create_dir_all(&run.root).map_err(Error::io(&run.root))?;
        if run.lock.is_none() {
            run.lock = Lock::take(&run.root)?;
        }
        // Fails now, not after an hour of training.
        let probe = run.root.join(".writable");
        File::create(&probe).map_err(Error::io(&run.root))?;
        fs::remove_file(&probe).map_err(Error::io(&probe))?;
        Ok(run)
    }

    fn expect_usable(&self, start: Start) -> Result<()> {
        let root = self.root.display();
        let (is_run, is_taken) = (self.config().exists(), self.is_taken()?);
        match start {
            Start::New if is_taken => Err(Error::Invalid(format!(
                "{root} is there already: go on with --resume, replace it with --overwrite, or choose another --out"
            ))),
            Start::Resume if !is_run => {
                Err(Error::NotFound(format!("no run to resume in {root}: start one without --resume")))
            }
            Start::Overwrite if is_taken && !is_run => Err(Error::Invalid(format!(
                "{root} holds something that is no run, so --overwrite leaves it alone: choose another --out"
            ))),
            Start::New | Start::Overwrite | Start::Resume => Ok(()),
        }
    }

    /// Begins or resumes training, after everything that can be refused was checked: removes the run to be overwritten.
    ///
    /// # Errors
    /// When something can't be removed or made.
    pub(in crate::train) fn begin(&self) -> Result<()> {
        if self.overwrites {
            self.clear()?;
            remove_folder(&self.root.join(LR_SEARCH))?;
        }
        // The run is not over any more.
        remove_file(&self.summary())?;
        for path in [self.checkpoints(), self.root.join("samples")] {
            fs::create_dir_all(&path).map_err(Error::io(&path))?;
        }
        Ok(())
    }

    /// Like [`RunDir::begin`] after a learning-rate search: keeps the search, and removes every other run from the
    /// directory.
    ///
    /// # Errors
    /// When something can't be removed.
    pub(in crate::train) fn clear_after_search(&self) -> Result<()> {
        if self.overwrites { self.clear() } else { Ok(()) }
    }

    /// Run directory that this process does not write; it is neither checked nor logged to.
    ///
    /// It may not exist yet, and another process may train in it.
    pub fn detached(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), lock: None, detached: true, overwrites: false }
    }

    /// Whether another process writes the directory.
    pub(crate) fn is_detached(&self) -> bool {
        self.detached
    }

    /// Opens the run in `root` read-only; another process may be training in it.
    ///
    /// # Errors
    /// When `root` is not a run directory.
    pub fn open_readonly(root: impl Into<PathBuf>) -> Result<Self> {
        let run = Self::detached(root);
        match run.config().exists() {
            true => Ok(run),
            false => {
                let root = run.root.display();
                Err(Error::NotFound(format!(
                    "no run in {root}, which has no config.resolved.toml: give a run's directory"
                )))
            }
        }
    }

    /// Settings of the run, to resume it; further settings can be put on top of them.
    ///
    /// # Errors
    /// When the configuration can't be read, or has a key that no version had.
    pub fn settings(&self) -> Result<Overrides> {
        let mut settings = Overrides::default();
        // Runs from before there were recipes name none; they were the paper's.
        settings.set("train.recipe", Recipe::Paper.name());
        settings.run_file(&self.config())?;
        Ok(settings)
    }

    /// Whether the directory holds anything but a finished learning-rate search and the empty folders of a run that
    /// failed before it began.
    fn is_taken(&self) -> Result<bool> {
        let is_empty = |path: &Path| fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(Error::Io { path: self.root.clone(), source: error }),
        };
        for entry in entries {
            let entry = entry.map_err(Error::io(&self.root))?;
            let name = entry.file_name();
            let is_folder = FOLDERS.iter().any(|folder| name == *folder);
            if name != LR_SEARCH && name != lock::NAME && !(is_folder && is_empty(&entry.path())) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn clear(&self) -> Result<()> {
        FOLDERS.iter().try_for_each(|name| remove_folder(&self.root.join(name)))?;
        FILES.iter().try_for_each(|name| remove_file(&self.root.join(name)))
    }

    /// Path of the run directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Path of `config.resolved.toml`: the settings of the run, those included that it chose itself.
    ///
    /// Given back with `--config`, it repeats the run.
    pub fn config(&self) -> PathBuf {
        self.root.join("config.resolved.toml")
    }

    /// Path of `preprocessor_config.json`: the palette.
    pub fn palette(&self) -> PathBuf {
        self.root.join("preprocessor_config.json")
    }

    /// Path of `metrics.jsonl`: the metrics.
    pub fn metrics(&self) -> PathBuf {
        self.root.join("metrics.jsonl")
    }

    /// Path of `checkpoints/`.
    pub fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    /// Path of a step's sample grid, such as `samples/step-00001000.png`.
    pub fn sample(&self, step: u64) -> PathBuf {
        self.root.join("samples").join(format!("step-{step:08}.png"))
    }

    /// Path of a step's completions, such as `samples/completions-00001000.png`.
    pub fn completions(&self, step: u64) -> PathBuf {
        self.root.join("samples").join(format!("completions-{step:08}.png"))
    }

    /// Pictures drawn during training, with their steps; `kind` is `step-` for samples, `completions-` for completions.
    pub fn pictures(&self, kind: &str) -> Vec<(u64, PathBuf)> {
        let Ok(entries) = fs::read_dir(self.root.join("samples")) else { return Vec::new() };
        let step = |path: &Path| path.file_name()?.to_str()?.strip_prefix(kind)?.strip_suffix(".png")?.parse().ok();
        let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        let mut pictures: Vec<(u64, PathBuf)> = paths.filter_map(|path| Some((step(&path)?, path))).collect();
        pictures.sort();
        pictures
    }

    /// Path of `train.log`.
    pub fn log_file(&self) -> PathBuf {
        self.root.join("train.log")
    }

    /// Path of `baselines.json`: the n-gram baselines of the run's validation images.
    pub fn baselines(&self) -> PathBuf {
        self.root.join("baselines.json")
    }

    /// Path of `summary.json`: the results of the run.
    ///
    /// Only a run that is over has one.
    pub fn summary(&self) -> PathBuf {
        self.root.join("summary.json")
    }

    /// Writes the summary of the run, which is now over.
    ///
    /// # Errors
    /// When the file can't be written.
    pub(in crate::train) fn finish(&self, summary: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string_pretty(summary).map_err(|problem| Error::Invalid(problem.to_string()))?;
        files::write(&self.summary(), (text + "\n").as_bytes())
    }

    /// Whether a process is training in the directory.
    pub fn is_training(&self) -> bool {
        Lock::is_held(&self.root)
    }

    /// Path of `model/`: the model that a run directory stands for wherever a model is expected.
    pub fn model(&self) -> PathBuf {
        self.root.join("model")
    }

    /// Appends a line to `train.log`, ignoring failures: a full disk must not stop training.
    pub fn log(&self, line: &str) {
        if self.detached {
            return;
        }
        let file = OpenOptions::new().create(true).append(true).open(self.log_file());
        if let Ok(mut file) = file {
            let _ = writeln!(file, "{}", one_line(line));
        }
    }
}

/// Removes a folder and its contents, if it exists.
fn remove_folder(path: &Path) -> Result<()> {
    gone(fs::remove_dir_all(path)).map_err(Error::io(path))
}

/// Removes a file, if it exists.
fn remove_file(path: &Path) -> Result<()> {
    gone(fs::remove_file(path)).map_err(Error::io(path))
}

fn gone(removed: std::io::Result<()>) -> std::io::Result<()> {
    match removed {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_run_is_never_overwritten_unasked() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("a/run");
        let run = RunDir::open(&root, Start::New).unwrap();
        let metrics = run.metrics();
        fs::write(run.config(), "").unwrap();
        fs::write(&metrics, "row\n").unwrap();
        drop(run);
        fs::write(root.join("notes.txt"), "mine").unwrap();
        assert!(RunDir::open(&root, Start::New).unwrap_err().to_string().contains("--resume"));
        assert_eq!(fs::read_to_string(&metrics).unwrap(), "row\n");
        RunDir::open(&root, Start::Resume).unwrap().begin().unwrap();
        assert!(metrics.exists());
        RunDir::open(&root, Start::Overwrite).unwrap().begin().unwrap();
        assert!(!metrics.exists() && root.join("notes.txt").exists());
    }

    #[test]
    fn a_run_is_as_it_was_until_the_next_one_begins() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::open(dir.path(), Start::New).unwrap();
        run.begin().unwrap();
        for path in [run.config(), run.summary(), run.checkpoints().join("1")] {
            fs::write(path, "").unwrap();
        }
        drop(run);
        for start in [Start::Resume, Start::Overwrite] {
            let run = RunDir::open(dir.path(), start).unwrap();
            assert!(run.summary().exists() && run.checkpoints().join("1").exists());
            run.begin().unwrap();
            assert!(!run.summary().exists());
            assert_eq!(run.checkpoints().join("1").exists(), start == Start::Resume);
            fs::write(run.summary(), "").unwrap();
        }
    }

    #[test]
    fn a_directory_that_is_no_run_is_neither_resumed_nor_cleared() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("samples")).unwrap();
        fs::write(dir.path().join("samples/mine.png"), "").unwrap();
        assert!(RunDir::open(dir.path(), Start::Overwrite).unwrap_err().to_string().contains("no run"));
        assert!(RunDir::open(dir.path(), Start::Resume).unwrap_err().to_string().contains("no run to resume"));
        assert!(dir.path().join("samples").exists());
    }

    #[test]
    fn a_run_that_is_being_trained_is_neither_resumed_nor_cleared() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::open(dir.path(), Start::New).unwrap();
        fs::write(run.config(), "").unwrap();
        for start in [Start::Resume, Start::Overwrite] {
            let message = RunDir::open(dir.path(), start).unwrap_err().to_string();
            assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
            assert!(run.config().exists());
        }
        let clone = run.clone();
        drop(run);
        assert!(RunDir::open(dir.path(), Start::Resume).is_err());
        drop(clone);
        // A lock file without its process is stale.
        RunDir::open(dir.path(), Start::Resume).unwrap();
    }

    #[test]
    fn a_directory_that_can_not_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let message = RunDir::open(file.join("run"), Start::New).unwrap_err().to_string();
        assert!(message.contains("file/run"), "{message}");
    }
}
