//! What the verbs that look at pictures share: which images of `--data` they take, which of these the model was trained
//! on, and what is said of damaged ones.
//!
//! By default that is the test part where the data set brings parts, and all images of a folder without parts, whose
//! images are new to the model; of the very folder that a run was trained on, some verbs take what was held out.

use std::path::{Path, PathBuf};

use igpt::data::{DamagedImage, Dataset, Images, Split, image_files};
use igpt::train::SplitRecord;
use igpt::train::TrainedOn;
use igpt::{Error, Result};

use crate::output::say;

/// The images that a verb looks at.
pub(crate) struct Pictures {
    pub(crate) dataset: Dataset,
    /// What `--data` says.
    pub(crate) spec: String,
    /// The part that is taken.
    pub(crate) split: Split,
    pub(crate) images: Images,
    pub(crate) trained: TrainedOn,
    /// Why this part, where it was not asked for.
    reason: Option<&'static str>,
}

/// What to take of the folder that the model's run was trained on, where no split is named and the folder has no parts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OwnFolder {
    /// All images, each marked as trained on or not.
    Marked,
    /// The images that the run held out for testing.
    HeldOut,
}

impl Pictures {
    /// The images of `split`, or of the usual part for the model at the path `model`; without one the model that comes with igpt.
    ///
    /// # Errors
    /// When there are none.
    pub(crate) fn of(
        dataset: Dataset,
        spec: &str,
        split: Option<Split>,
        model: Option<&Path>,
        own: OwnFolder,
    ) -> Result<Self> {
        let trained = TrainedOn::of(model);
        let (split, reason) = match split {
            Some(split) => (split, None),
            None if dataset.has_parts => (Split::Test, None),
            None if own == OwnFolder::HeldOut && !dataset.test.is_empty() && trained.is_same(spec) => {
                (Split::Test, Some("what its training held out"))
            }
            None => (Split::All, Some("it has no parts of its own")),
        };
        let images = dataset.split(split)?;
        Ok(Self { dataset, spec: spec.into(), split, images, trained, reason })
    }

    /// So many of the images, spread evenly; 0 is all.
    pub(crate) fn spread(&self, count: usize) -> Images {
        if count == 0 { self.images.clone() } else { self.images.spread(count) }
    }

    /// The part, and why it was taken if it wasn't asked for.
    pub(crate) fn part(&self) -> String {
        match self.reason {
            Some(reason) => format!("{}: {reason}", self.split),
            None => self.split.to_string(),
        }
    }

    /// Whether all images of a folder without parts are taken, so that none of them are the training images.
    pub(crate) fn are_new(&self) -> bool {
        self.reason.is_some() && self.split == Split::All
    }

    /// Which of `images` of the data set, but for the `damaged` ones among them, the model was trained on; said in a line
    /// if any were.
    pub(crate) fn seen(&self, images: &Images, damaged: &[DamagedImage]) -> SplitRecord {
        let mut seen = self.trained.seen(Some((&self.spec, &self.dataset)), images);
        let left_out = left_out(images, damaged);
        tell_seen(&seen, &left_out);
        let mut left_out = left_out.iter();
        seen.marks.retain(|_| left_out.next() == Some(&false));
        seen
    }
}

/// For each of `images` whether it is among the `damaged`, which are in the same order.
pub(crate) fn left_out(images: &Images, damaged: &[DamagedImage]) -> Vec<bool> {
    let mut damaged = damaged.iter().peekable();
    (0..images.len()).map(|i| damaged.next_if(|image| image.name == images.name(i)).is_some()).collect()
}

/// Says how many of the images that are not `left_out` were trained on, if any were.
pub(crate) fn tell_seen(seen: &SplitRecord, left_out: &[bool]) {
    for note in &seen.notes {
        say!("note: {note}");
    }
    let kept = || seen.marks.iter().zip(left_out).filter(|(_, left_out)| !**left_out);
    let count = kept().filter(|(mark, _)| **mark == Some(true)).count();
    if count > 0 {
        say!("{count} of {} images are among those that the run trained on", kept().count());
    }
}

/// Says which images were skipped.
///
/// # Errors
/// When none is left of the images of `spec`.
pub(crate) fn tell_damaged(damaged: &[DamagedImage], left: usize, spec: &str) -> Result<()> {
    for image in damaged {
        say!("skipped {}: {}", image.name, image.problem);
    }
    match (left, damaged) {
        (1.., []) => Ok(()),
        (1.., _) => {
            say!("{} of {} images are damaged and were skipped", damaged.len(), left + damaged.len());
            Ok(())
        }
        (0, _) => Err(Error::Missing(format!("no image of {spec} could be decoded: give others, or mend these"))),
    }
}

/// The files given, those of folders among them; says what is passed over.
pub(crate) fn files_of(given: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in given {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let (found, passed_over) = image_files(path)?;
        if !passed_over.is_empty() {
            say!("note: {passed_over}");
        }
        files.extend(found);
    }
    Ok(files)
}
