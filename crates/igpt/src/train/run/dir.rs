//! The run directory: what lies where, that nobody's run is overwritten unasked or for nothing, and that one process
//! trains in it at a time.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::text::one_line;
use crate::train::run::lock::{self, Lock};
use crate::{Error, Result, files};

/// What to do about a run directory that may be there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// It must not be there (or be empty).
    New,
    /// What an earlier run left in it goes as soon as the new one begins to train.
    Overwrite,
    /// The run in it goes on from its newest whole checkpoint.
    Resume,
}

/// The directory of one run.
#[derive(Clone, Debug)]
pub struct RunDir {
    root: PathBuf,
    lock: Option<Lock>,
    /// Whether another process writes it.
    detached: bool,
    /// Whether an earlier run is in it that goes when this one begins.
    overwrites: bool,
}

/// Everything that a run (or a report on it) writes.
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
/// Where the runs of a learning rate search lie, beforehand.
pub(crate) const LR_SEARCH: &str = "lr-search";

impl RunDir {
    /// Makes or takes over `root`, and keeps other processes from training in it until the last clone is dropped. What
    /// an earlier run left there stays until the new one begins to train.
    ///
    /// # Errors
    /// When there is something in `root` and `start` is `New`; when there is no run and `start` is `Resume`; when
    /// `start` is `Overwrite` and what is there is no run; when another process is training in it; when the directory
    /// can't be written to.
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
        // Found out now, not after an hour of training.
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
                Err(Error::Missing(format!("no run to resume in {root}: start one without --resume")))
            }
            Start::Overwrite if is_taken && !is_run => Err(Error::Invalid(format!(
                "{root} holds something that is no run, so --overwrite leaves it alone: choose another --out"
            ))),
            Start::New | Start::Overwrite | Start::Resume => Ok(()),
        }
    }

    /// Training begins or goes on, now that nothing is left to refuse: removes the run to be overwritten.
    ///
    /// # Errors
    /// When something can't be removed or made.
    pub(in crate::train) fn begin(&self) -> Result<()> {
        if self.overwrites {
            self.clear()?;
            remove_folder(&self.root.join(LR_SEARCH))?;
        }
        // It is not over any more.
        remove_file(&self.summary())?;
        for path in [self.checkpoints(), self.root.join("samples")] {
            fs::create_dir_all(&path).map_err(Error::io(&path))?;
        }
        Ok(())
    }

    /// As [`RunDir::begin`] of a run whose learning rate was searched beforehand: the search stays, and the directory
    /// is as if there had never been another run.
    ///
    /// # Errors
    /// When something can't be removed.
    pub(in crate::train) fn clear_after_search(&self) -> Result<()> {
        if self.overwrites { self.clear() } else { Ok(()) }
    }

    /// The directory of a run that is written detached, by rank 0 or not at all: it is neither looked at nor logged
    /// to.
    pub fn detached(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), lock: None, detached: true, overwrites: false }
    }

    /// Whether it is written elsewhere.
    pub(crate) fn is_detached(&self) -> bool {
        self.detached
    }

    /// The directory of a run that is only watched: it may not be there yet, and another process may train in it.
    pub fn watch(root: impl Into<PathBuf>) -> Self {
        Self::detached(root)
    }

    /// The run in `root`, only to be read: another process may be training in it.
    ///
    /// # Errors
    /// When there is none.
    pub fn open_readonly(root: impl Into<PathBuf>) -> Result<Self> {
        let run = Self::detached(root);
        match run.config().exists() {
            true => Ok(run),
            false => {
                let root = run.root.display();
                Err(Error::Missing(format!(
                    "no run in {root}, which has no config.resolved.toml: give a run's directory"
                )))
            }
        }
    }

    /// Whether there is anything but a finished search for a learning rate and the empty folders of a run that
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

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `config.resolved.toml`: the config with nothing left open.
    pub fn config(&self) -> PathBuf {
        self.root.join("config.resolved.toml")
    }

    /// `preprocessor_config.json`: the palette.
    pub fn palette(&self) -> PathBuf {
        self.root.join("preprocessor_config.json")
    }

    /// `metrics.jsonl`.
    pub fn metrics(&self) -> PathBuf {
        self.root.join("metrics.jsonl")
    }

    /// `checkpoints/`.
    pub fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    /// `samples/step-00001000.png`.
    pub fn sample(&self, step: u64) -> PathBuf {
        self.root.join("samples").join(format!("step-{step:08}.png"))
    }

    /// `samples/completions-00001000.png`.
    pub fn completions(&self, step: u64) -> PathBuf {
        self.root.join("samples").join(format!("completions-{step:08}.png"))
    }

    /// Pictures drawn while it trained, by step: `step-…` of the samples, `completions-…` of the completions.
    pub fn pictures(&self, kind: &str) -> Vec<(u64, PathBuf)> {
        let Ok(entries) = fs::read_dir(self.root.join("samples")) else { return Vec::new() };
        let step = |path: &Path| path.file_name()?.to_str()?.strip_prefix(kind)?.strip_suffix(".png")?.parse().ok();
        let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        let mut pictures: Vec<(u64, PathBuf)> = paths.filter_map(|path| Some((step(&path)?, path))).collect();
        pictures.sort();
        pictures
    }

    /// `train.log`.
    pub fn log_file(&self) -> PathBuf {
        self.root.join("train.log")
    }

    /// `baselines.json`: what a page computed of the models that only count.
    pub fn baselines(&self) -> PathBuf {
        self.root.join("baselines.json")
    }

    /// `summary.json`: what the run came to. Only a run that is over has one.
    pub fn summary(&self) -> PathBuf {
        self.root.join("summary.json")
    }

    /// Writes what the run came to, now that it is over.
    ///
    /// # Errors
    /// When the file can't be written.
    pub(in crate::train) fn finish(&self, summary: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string_pretty(summary).map_err(|problem| Error::Invalid(problem.to_string()))?;
        files::write(&self.summary(), (text + "\n").as_bytes())
    }

    /// Whether a process trains in it.
    pub fn is_training(&self) -> bool {
        Lock::is_held(&self.root)
    }

    /// `model/`: the directory that the run stands for wherever a model is asked for.
    pub fn model(&self) -> PathBuf {
        self.root.join("model")
    }

    /// Appends a line to `train.log`. A full disk must not stop training, so failures are passed over.
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

/// Removes a folder and what is in it, if it is there.
fn remove_folder(path: &Path) -> Result<()> {
    gone(fs::remove_dir_all(path)).map_err(Error::io(path))
}

/// Removes a file, if it is there.
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
        // What the lock left behind is stale.
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
