//! Meaning of the sub-folders of a folder: parts of the data set, classes, or one more folder on the way.
//!
//! A part is called `train` or `training`, `validation`, `valid`, `val` or `dev`, `test`, `testing`, `eval` or
//! `evaluation`, in any case. There are parts only if there is a training part. Everything ambiguous or ignored gets a
//! note with numbers.

use std::collections::{BTreeMap, BTreeSet};

use unicode_normalization::UnicodeNormalization;

use super::parts::{PARTS, part_of};
use super::walk::{FolderScan, ImageFile};

/// Number of folders that a note names.
const NAMED: usize = 8;

/// Meaning of a folder's sub-folders.
#[derive(Debug, Default)]
pub(crate) struct FolderLayout {
    /// Folders before the meaningful ones, with a `/` at the end: mostly none.
    base: String,
    /// Whether the folders below the base are parts, not classes.
    pub has_parts: bool,
    /// Whether each part has one more folder of the part's name on the way: `train/train/…`.
    doubled: bool,
    /// Notes on the layout, each a sentence.
    pub notes: Vec<String>,
}

impl FolderLayout {
    /// Derives the layout from all images and folders.
    pub(crate) fn of(walk: &FolderScan) -> Self {
        let mut layout = Self { base: base(walk), ..Self::default() };
        let top = walk.part_folders.iter().filter_map(|folder| folder.strip_prefix(&layout.base));
        let parts: Vec<(usize, &str)> =
            top.filter(|rest| !rest.contains('/')).filter_map(|name| Some((part_of(name)?, name))).collect();
        layout.has_parts = parts.iter().any(|(part, _)| *part == 0);
        // Number of images of each folder below the base; the empty name stands for images directly in it.
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for file in &walk.files {
            let rest = file.name.strip_prefix(&layout.base).unwrap_or(&file.name);
            *counts.entry(rest.split_once('/').map_or("", |(folder, _)| folder)).or_default() += 1;
        }
        let mut notes = Vec::new();
        if !layout.base.is_empty() {
            notes.push(format!("all images are in {}, which is taken for the folder itself", layout.base));
        }
        layout.doubled = layout.has_parts && layout.is_doubled(&walk.files);
        if layout.doubled {
            notes.push(
                "each part has all its images in a folder of its own name, which is not taken for a class".into(),
            );
        }
        if layout.has_parts {
            about_parts(&parts, &counts, &mut notes);
        } else {
            about_classes(&parts, &counts, walk, &layout, &mut notes);
        }
        layout.notes = notes;
        layout
    }

    /// Whether an image belongs to the data set.
    pub(crate) fn keeps(&self, name: &str) -> bool {
        !self.has_parts || self.part(name).is_some()
    }

    /// Part (train, validation, test) of an image; `None` if there are no parts, or the image is in none.
    pub(crate) fn part(&self, name: &str) -> Option<usize> {
        self.has_parts.then_some(())?;
        part_of(name.strip_prefix(&self.base)?.split_once('/')?.0)
    }

    /// Class of an image, in Unicode's composed form: a name is one class however its accents are stored.
    pub(crate) fn class(&self, name: &str) -> Option<String> {
        let mut rest = name.strip_prefix(&self.base)?;
        for _ in 0..usize::from(self.has_parts) + usize::from(self.doubled) {
            rest = rest.split_once('/')?.1;
        }
        Some(rest.split_once('/')?.0.nfc().collect())
    }

    /// Whether all images of all parts are in a folder of the part's name inside the part, as archives unpack.
    fn is_doubled(&self, files: &[ImageFile]) -> bool {
        let in_parts = || files.iter().filter_map(|file| Some((file, self.part(&file.name)?)));
        let again = |(file, part): (&ImageFile, usize)| {
            let inside = file.name[self.base.len()..].split_once('/').and_then(|(_, rest)| rest.split_once('/'));
            inside.is_some_and(|(folder, _)| part_of(folder) == Some(part))
        };
        in_parts().next().is_some() && in_parts().all(again)
    }

    /// The classes of images, sorted.
    pub(crate) fn classes(&self, files: &[ImageFile]) -> Vec<String> {
        let mut last = "";
        let mut classes = BTreeSet::new();
        for file in files {
            // Most images follow another one of their own folder.
            let folder = file.name.rsplit_once('/').map_or("", |(folder, _)| folder);
            if folder != last || classes.is_empty() {
                classes.extend(self.class(&file.name));
                last = folder;
            }
        }
        classes.into_iter().collect()
    }
}

/// The folders between the root and the first meaningful folder.
///
/// Each is the only folder in its parent and has no images of its own. The last one has a training part or several
/// folders.
fn base(walk: &FolderScan) -> String {
    let mut base = String::new();
    loop {
        let is_train = |folder: &String| {
            folder.strip_prefix(&base).is_some_and(|name| !name.contains('/') && part_of(name) == Some(0))
        };
        // The folder may exist without any image.
        if walk.part_folders.iter().any(is_train) {
            return base;
        }
        let mut only = None;
        let mut inner = true;
        for file in &walk.files {
            let Some((folder, rest)) = file.name[base.len()..].split_once('/') else { return String::new() };
            if *only.get_or_insert(folder) != folder {
                return base;
            }
            inner &= rest.contains('/');
        }
        match only {
            Some(only) if inner => base = format!("{base}{only}/"),
            _ => return String::new(),
        }
    }
}

/// Adds notes if there are parts: folders that share one, and what is ignored.
fn about_parts(parts: &[(usize, &str)], counts: &BTreeMap<&str, usize>, notes: &mut Vec<String>) {
    let count = |folder: &str| counts.get(folder).copied().unwrap_or(0);
    for (part, name) in PARTS.iter().enumerate() {
        let folders: Vec<&str> = parts.iter().filter(|(p, _)| *p == part).map(|(_, folder)| *folder).collect();
        if folders.len() > 1 {
            let counted = list(folders.iter().map(|folder| (*folder, count(folder))));
            notes.push(format!("{} folders are taken for the {name} part together: {counted}", folders.len()));
        }
        if let [only] = folders[..]
            && count(only) == 0
        {
            notes.push(format!("the folder {only} has no images"));
        }
    }
    let beside = counts.iter().filter(|(folder, _)| !folder.is_empty() && part_of(folder).is_none());
    let beside: Vec<(&str, usize)> = beside.map(|(folder, count)| (*folder, *count)).collect();
    let loose = count("");
    if beside.is_empty() && loose == 0 {
        return;
    }
    let total = loose + beside.iter().map(|(_, count)| count).sum::<usize>();
    let mut what = Vec::new();
    if !beside.is_empty() {
        what.push(format!("in {}", list(beside.into_iter())));
    }
    if loose > 0 {
        what.push(format!("{loose} in no folder"));
    }
    let train = parts.iter().find(|(part, _)| *part == 0).map_or("train", |(_, folder)| *folder);
    notes.push(format!(
        "left alone: {} beside the parts, {}; the folder {train} is taken for the training part: rename it if it is a class",
        images(total),
        what.join(", ")
    ));
}

/// Adds notes if there are no parts: folders with the name of a part, or a similar one.
fn about_classes(
    parts: &[(usize, &str)],
    counts: &BTreeMap<&str, usize>,
    walk: &FolderScan,
    layout: &FolderLayout,
    notes: &mut Vec<String>,
) {
    let count = |folder: &str| counts.get(folder).copied().unwrap_or(0);
    let named: Vec<(&str, usize)> =
        parts.iter().map(|(_, folder)| (*folder, count(folder))).filter(|(_, count)| *count > 0).collect();
    if !named.is_empty() {
        let (classes, them) =
            if named.len() == 1 { ("a class, not for a part", "it") } else { ("classes, not for parts", "them") };
        notes.push(format!(
            "taken for {classes}, as there is no folder train beside {them}: {}",
            list(named.into_iter())
        ));
    }
    let only = layout.base.trim_end_matches('/').rsplit('/').next().filter(|only| part_of(only).is_some());
    if let Some(only) = only {
        notes.push(format!("{only} is not taken for a part, as there is no folder train beside it"));
    }
    let alike = |folder: &&str| part_of(folder).is_none() && names_a_part(folder);
    let alike: Vec<(&str, usize)> =
        counts.keys().copied().filter(alike).map(|folder| (folder, count(folder))).collect();
    if !alike.is_empty() {
        notes.push(format!(
            "taken for classes, not for parts: {}; parts are called train, validation and test",
            list(alike.into_iter())
        ));
    }
    let inside =
        |folder: &&String| folder.strip_prefix(&layout.base).is_some_and(|rest| rest.matches('/').count() == 1);
    let inside: Vec<(&str, usize)> = walk
        .part_folders
        .iter()
        .filter(inside)
        .map(|folder| (&**folder, walk.files.iter().filter(|file| is_in(&file.name, folder)).count()))
        .filter(|(_, count)| *count > 0)
        .collect();
    if !inside.is_empty() {
        notes.push(format!(
            "called like parts but inside of classes, so not taken for parts: {}; parts come first, as in train/cat",
            list(inside.into_iter())
        ));
    }
    let mut by_case: BTreeMap<String, Vec<(&str, usize)>> = BTreeMap::new();
    for (&folder, &count) in counts {
        by_case.entry(folder.nfc().collect::<String>().to_lowercase()).or_default().push((folder, count));
    }
    for alike in by_case.into_values() {
        let names: BTreeSet<String> = alike.iter().map(|(folder, _)| folder.nfc().collect()).collect();
        if names.len() > 1 {
            notes.push(format!("classes whose names differ in case only: {}", list(alike.into_iter())));
        }
    }
}

fn is_in(name: &str, folder: &str) -> bool {
    name.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether a name contains the name of a part, such as `train2017` or `test_images`.
fn names_a_part(folder: &str) -> bool {
    folder.split(|c: char| !c.is_alphabetic()).any(|word| part_of(word).is_some())
}

/// `a/ (3 images), b/ (1 image)`.
fn list<'a>(folders: impl Iterator<Item = (&'a str, usize)>) -> String {
    let all: Vec<String> = folders.map(|(folder, count)| format!("{folder}/ ({})", images(count))).collect();
    match all.len().saturating_sub(NAMED) {
        0 => all.join(", "),
        more => format!("{} and {more} more", all[..NAMED].join(", ")),
    }
}

fn images(count: usize) -> String {
    if count == 1 { "1 image".into() } else { format!("{count} images") }
}
