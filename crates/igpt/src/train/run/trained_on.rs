//! Record of what a model was trained on, from its run directory and the data: which images it has seen.
//!
//! Two cases are distinguished. Images of the run's own data set (the same name or place, or tokens made of it) were
//! seen if they are in its training split. The split is the data set's own, or that of the fixed seed with which igpt
//! opens data. Images of another folder are compared with the files of the training images, byte by byte through their
//! SHA-256. A classifier has also seen the images of its pretraining.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::data::{
    self, Dataset, Fingerprint, Images, OpenOptions, TokenDir, same_files::same_files, shards::Manifest,
};
use crate::train::RunConfig;
use crate::train::checkpoint::Checkpoints;
use crate::{Error, Result, files};

/// Largest number of runs that started from each other's models.
const CHAIN: usize = 8;

/// Data sets that a model was trained on, including those of the models that it started from.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TrainedOn {
    sets: Vec<Set>,
}

/// Data set of one run.
#[derive(Clone, Debug)]
struct Set {
    spec: String,
    dir: Option<PathBuf>,
    /// Number of images that the run trained on, if its checkpoints have it and it used all of its training split.
    images: Option<usize>,
}

/// Membership of images in a model's training data.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct SplitRecord {
    /// For each image, whether the model was trained on it; `None` if that is unknown.
    pub marks: Vec<Option<bool>>,
    /// Warnings for the user about the marks.
    pub notes: Vec<String>,
}

impl SplitRecord {
    /// Number of images that the model was trained on; `None` if nothing is known about any.
    pub fn count(&self) -> Option<usize> {
        let known = self.marks.iter().any(Option::is_some);
        known.then(|| self.marks.iter().filter(|mark| **mark == Some(true)).count())
    }
}

impl TrainedOn {
    /// Data of the model at `path`, from the run directory that contains it; empty if it is in none.
    ///
    /// `None` stands for the emoji model that is embedded in igpt.
    pub fn of(path: Option<&Path>) -> Self {
        let mut trained = Self::default();
        let Some(path) = path else {
            trained.sets.push(Set { spec: "emoji".into(), dir: None, images: None });
            return trained;
        };
        let mut next = Some(path.to_owned());
        for _ in 0..CHAIN {
            let Some((run, config)) = next.take().and_then(|path| run_of(&path)) else { break };
            let all = config.data.train_images.is_none()
                && config.finetune.as_ref().is_none_or(|finetune| finetune.labels_per_class.is_none());
            next = config.starts_from().map(Path::to_path_buf);
            let images = if all { images_of(&run) } else { None };
            trained.sets.push(Set { spec: config.data.spec, dir: config.data.dir, images });
        }
        trained
    }

    /// Whether `spec` is one of the data sets trained on, tokens made of one, or the origin of its tokens.
    pub fn is_same(&self, spec: &str) -> bool {
        self.sets.iter().any(|set| same(&set.spec, spec))
    }

    /// Finds which of `images` the model was trained on.
    ///
    /// `of` is the data set of the images, if they are of one: its name or path, as in `--data`, and the opened data
    /// set.
    pub fn seen(&self, of: Option<(&str, &Dataset)>, images: &Images) -> SplitRecord {
        let mut seen = SplitRecord { marks: vec![None; images.len()], notes: Vec::new() };
        for set in &self.sets {
            let marks = if let Some((spec, dataset)) = of.filter(|(spec, _)| same(&set.spec, spec)) {
                let labelled = || (0..dataset.train.len()).filter(|&i| dataset.train.label(i).is_some()).count();
                if let Some(then) = set.images.filter(|&then| then != dataset.train.len() && then != labelled()) {
                    seen.notes.push(format!(
                        "{spec} has changed since the run trained on it ({then} training images then, {} now): which of \
                         its images it has seen is a guess",
                        dataset.train.len()
                    ));
                }
                let train: HashSet<u32> = dataset.train.indices().iter().copied().collect();
                images.indices().iter().map(|i| Some(train.contains(i))).collect()
            } else {
                match set.training_images() {
                    Ok(Some(train)) => same_files(images, &train),
                    Ok(None) => continue,
                    Err(problem) => {
                        seen.notes.push(format!(
                            "which of the images the run was trained on is not known, as its data can't be opened: {problem}"
                        ));
                        continue;
                    }
                }
            };
            for (mark, found) in seen.marks.iter_mut().zip(marks) {
                // An image that was seen in one data set stays marked.
                *mark = if *mark == Some(true) { *mark } else { found.or(*mark) };
            }
        }
        seen
    }

    /// Training images of the first run whose data are available.
    ///
    /// Named data sets other than the embedded one are not opened, since that could start a download.
    pub fn training_images(&self) -> Option<Images> {
        let open = |set: &Set| match &*set.spec {
            "emoji" => set.open().ok(),
            _ => set.training_images().ok()?,
        };
        self.sets.iter().find_map(open)
    }
}

impl Set {
    fn open(&self) -> Result<Images> {
        let options = OpenOptions { data_dir: self.dir.clone(), ..OpenOptions::default() };
        Ok(data::open(&self.spec, &options)?.train)
    }

    /// Training images of a folder; `None` for a named data set.
    fn training_images(&self) -> Result<Option<Images>> {
        let spec = origin(&self.spec);
        if data::NAMES.contains(&&*spec) {
            return Ok(None);
        }
        if !Path::new(&spec).exists() {
            return Err(Error::NotFound(format!("there is no {spec} here")));
        }
        Self { spec, ..self.clone() }.open().map(Some)
    }
}

/// Directory and settings of the run that `path` is, or to which the model at `path` belongs.
fn run_of(path: &Path) -> Option<(PathBuf, RunConfig)> {
    let path = path.canonicalize().ok()?;
    let inside = path.parent().filter(|_| path.ends_with("model"));
    let run = [Some(&*path), inside].into_iter().flatten().find(|run| run.join(CONFIG).is_file())?;
    let config = run.join(CONFIG);
    Some((run.to_owned(), RunConfig::from_toml(&files::read_to_string(&config).ok()?, &config).ok()?))
}

const CONFIG: &str = "config.resolved.toml";

/// Number of images that a run trained on, from its newest checkpoint.
fn images_of(run: &Path) -> Option<usize> {
    usize::try_from(newest(run)?.get("train_images")?.as_integer()?).ok()
}

/// Fingerprint of the data set that the run trained on, from its newest checkpoint.
pub(crate) fn fingerprint_of(run: &Path) -> Option<Fingerprint> {
    newest(run)?.get("data")?.clone().try_into().ok()
}

/// What the newest checkpoint of a run says about itself.
fn newest(run: &Path) -> Option<toml::Table> {
    let checkpoints = Checkpoints::open_readonly(run.join("checkpoints")).ok()?;
    let newest = checkpoints.path(*checkpoints.steps().ok()?.last()?);
    files::read_to_string(&newest.join("checkpoint.toml")).ok()?.parse().ok()
}

/// Origin of the tokens at `spec`, or `spec` itself.
fn origin(spec: &str) -> String {
    let path = Path::new(spec);
    if !data::NAMES.contains(&spec)
        && TokenDir::is_at(path)
        && let Ok(manifest) = Manifest::read(path)
    {
        return manifest.source;
    }
    spec.to_owned()
}

/// Whether two values of `--data` are the same data set.
fn same(a: &str, b: &str) -> bool {
    let place = |spec: &str| match data::NAMES.contains(&spec) {
        true => PathBuf::from(spec),
        false => Path::new(spec).canonicalize().unwrap_or_else(|_| spec.into()),
    };
    place(a) == place(b) || place(&origin(a)) == place(&origin(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Split;
    use crate::train::config::recipe::Recipe;

    fn save(path: &Path, value: u32) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let color = |x: u32, y: u32| image::Rgb([(value * 7) as u8, (x * value) as u8, (y + value) as u8]);
        image::RgbImage::from_fn(4, 4, color).save(path).unwrap();
    }

    /// A run directory whose config names `spec` as its data set.
    fn run(root: &Path, spec: &Path) -> TrainedOn {
        let mut config = RunConfig::of(Recipe::Paper);
        config.data.spec = spec.display().to_string();
        std::fs::create_dir_all(root.join("model")).unwrap();
        std::fs::write(root.join(CONFIG), config.to_toml()).unwrap();
        TrainedOn::of(Some(&root.join("model")))
    }

    fn opened(folder: &Path) -> (String, Dataset) {
        (folder.display().to_string(), data::open(folder.to_str().unwrap(), &OpenOptions::default()).unwrap())
    }

    #[test]
    fn of_the_runs_own_folder_the_training_part_was_seen_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let photos = dir.path().join("photos");
        (0..20).for_each(|i| save(&photos.join(format!("{i:02}.png")), i));
        let trained = run(&dir.path().join("run"), &photos);
        let (spec, dataset) = opened(&photos.join("../photos"));
        assert!(trained.is_same(&spec) && !trained.is_same("emoji"));
        let all = dataset.split(Split::All).unwrap();
        let seen = trained.seen(Some((&spec, &dataset)), &all);
        assert_eq!((seen.count(), &seen.notes), (Some(16), &Vec::new()));
        let held_out = trained.seen(Some((&spec, &dataset)), &dataset.test);
        assert_eq!(held_out.marks, [Some(false); 2]);
    }

    #[test]
    fn copies_in_another_folder_were_seen_and_new_images_were_not() {
        let dir = tempfile::tempdir().unwrap();
        (0..4).for_each(|i| save(&dir.path().join(format!("photos/train/{i}.png")), i));
        save(&dir.path().join("photos/test/9.png"), 9);
        let trained = run(&dir.path().join("run"), &dir.path().join("photos"));
        for (name, value) in [("a", 2), ("b", 9), ("c", 50)] {
            save(&dir.path().join(format!("new/{name}.png")), value);
        }
        let (spec, dataset) = opened(&dir.path().join("new"));
        let all = dataset.split(Split::All).unwrap();
        assert_eq!(trained.seen(Some((&spec, &dataset)), &all).marks, [Some(true), Some(false), Some(false)]);

        std::fs::remove_dir_all(dir.path().join("photos")).unwrap();
        let seen = trained.seen(Some((&spec, &dataset)), &all);
        assert_eq!((seen.count(), seen.notes.len()), (None, 1));
    }

    #[test]
    fn a_model_without_a_run_says_nothing_and_the_embedded_one_has_seen_emoji() {
        let dir = tempfile::tempdir().unwrap();
        let emoji = data::open("emoji", &OpenOptions::default()).unwrap();
        let nothing = TrainedOn::of(Some(dir.path())).seen(Some(("emoji", &emoji)), &emoji.train.take(3));
        assert_eq!((nothing.count(), nothing.notes.len()), (None, 0));
        let bundled = TrainedOn::of(None);
        assert_eq!(bundled.seen(Some(("emoji", &emoji)), &emoji.train.take(3)).count(), Some(3));
        assert_eq!(bundled.seen(Some(("emoji", &emoji)), &emoji.test.take(3)).count(), Some(0));
    }
}
