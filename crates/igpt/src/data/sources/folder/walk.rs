//! All files below a folder: the images, and the number of skipped files by kind.
//!
//! Leftovers of operating systems, storage and version control are skipped silently. A name that is not UTF-8 is kept
//! for opening the file and shown with U+FFFD in its place.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::parts::part_of;
use crate::formats::decode;
use crate::{Error, Result};

/// Largest depth of sub-folders that are searched.
const DEPTH: usize = 64;
/// Number of kinds of skipped files that are named.
const NAMED: usize = 6;
/// Longest extension of a file name that counts as one.
const LONGEST_ENDING: usize = 10;

/// Names of files and folders that no user has put there, in lower case.
const LEFTOVERS: [&str; 22] = [
    "__macosx",
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "icon\r",
    "@eadir",
    "@recycle",
    "@recently-snapshot",
    "@__thumb",
    ".@__thumb",
    "#recycle",
    "#snapshot",
    "$recycle.bin",
    "recycler",
    "system volume information",
    "found.000",
    "lost+found",
    "network trash folder",
    "temporary items",
    "__pycache__",
    ".ipynb_checkpoints",
    ".ds_store",
];
/// Prefixes of hidden folders that hold no data, in lower case.
const HIDDEN: [&str; 16] = [
    ".git",
    ".svn",
    ".hg",
    ".dvc",
    ".cache",
    ".trash",
    ".thumbnails",
    ".spotlight",
    ".fseventsd",
    ".apple",
    ".documentrevisions",
    ".temporaryitems",
    ".stfolder",
    ".stversions",
    ".picasa",
    ".dropbox",
];
/// Reasons for skipping other than the extension, in the singular and the plural.
const REASONS: [(&str, &str); 6] = [
    ("hidden", "hidden"),
    ("hidden folder", "hidden folders"),
    ("link to nowhere", "links to nowhere"),
    ("link in a circle", "links in a circle"),
    ("folder too deep", "folders too deep"),
    ("no file: a pipe, socket or device", "no files: pipes, sockets or devices"),
];

/// An image file below a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ImageFile {
    /// Path below the root as it is shown, with `/` between the parts.
    pub name: String,
    /// Path below the root, if it differs from the shown one.
    path: Option<Box<Path>>,
}

impl ImageFile {
    /// Creates the record of the file at `path` below the root, shown as `name`.
    pub(super) fn new(name: String, path: &Path) -> Self {
        let path = (Path::new(&name) != path).then(|| path.into());
        Self { name, path }
    }

    /// Path below the root.
    pub(crate) fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new(&self.name))
    }
}

/// Contents of a folder.
#[derive(Debug, Default)]
pub(crate) struct FolderScan {
    /// Images, sorted by name.
    pub files: Vec<ImageFile>,
    /// Folders, with or without images, that have the name of a part; sorted.
    pub part_folders: Vec<String>,
    /// Counts of files that are not images.
    pub passed_over: SkippedFiles,
    /// Number of images whose path is not UTF-8.
    pub renamed: usize,
}

/// Counts of skipped files, by kind.
#[derive(Debug, Default)]
pub(crate) struct SkippedFiles(BTreeMap<String, usize>);

impl SkippedFiles {
    fn count(&mut self, kind: &str) {
        *self.0.entry(kind.to_owned()).or_default() += 1;
    }
}

impl fmt::Display for SkippedFiles {
    /// Writes `passed over: 120 files (80 .txt, 40 .heic)`; nothing if there are none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total: usize = self.0.values().sum();
        if total == 0 {
            return Ok(());
        }
        let mut kinds: Vec<(&String, &usize)> = self.0.iter().collect();
        kinds.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        let words = |kind: &str, count: usize| match REASONS.iter().find(|(one, _)| *one == kind) {
            Some((_, many)) if count != 1 => format!("{count} {many}"),
            _ => format!("{count} {kind}"),
        };
        let named: Vec<String> = kinds.iter().take(NAMED).map(|(kind, count)| words(kind, **count)).collect();
        let others: usize = kinds.iter().skip(NAMED).map(|(_, count)| **count).sum();
        let more = if others > 0 { format!(", {others} of other kinds") } else { String::new() };
        let s = if total == 1 { "" } else { "s" };
        write!(f, "passed over: {total} file{s} ({}{more})", named.join(", "))
    }
}

/// A folder being searched.
struct Place<'a> {
    path: &'a Path,
    /// Path below the root, as it is and as it is shown; empty for the root.
    below: &'a Path,
    name: &'a str,
}

impl FolderScan {
    /// Searches `root` and its sub-folders; links are followed, except those that lead back to a folder around them.
    ///
    /// # Errors
    /// When a folder can't be read.
    pub(crate) fn through(root: &Path) -> Result<Self> {
        let mut walk = Self::default();
        let real = root.canonicalize().map_err(Error::io(root))?;
        walk.look(&Place { path: root, below: Path::new(""), name: "" }, &mut vec![real])?;
        walk.files.sort_unstable();
        walk.part_folders.sort_unstable();
        Ok(walk)
    }

    /// Searches a folder, the last of `around`: the real paths of the folders that enclose it.
    fn look(&mut self, place: &Place<'_>, around: &mut Vec<PathBuf>) -> Result<()> {
        let io = |source| Error::Io { path: place.path.to_owned(), source };
        for entry in std::fs::read_dir(place.path).map_err(io)? {
            let entry = entry.map_err(io)?;
            let (file_name, path) = (entry.file_name(), entry.path());
            let shown = file_name.to_string_lossy();
            if is_leftover(&shown) {
                continue;
            }
            let name = if place.name.is_empty() { shown.to_string() } else { format!("{}/{shown}", place.name) };
            let kind = kind_by_ending(&shown);
            // This follows links.
            let there = match std::fs::metadata(&path) {
                Ok(there) => there,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    self.passed_over.count("link to nowhere");
                    continue;
                }
                Err(source) => return Err(Error::Io { path, source }),
            };
            let below = place.below.join(&file_name);
            if there.is_dir() {
                if shown.starts_with('.') {
                    self.passed_over.count("hidden folder");
                    continue;
                }
                let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
                let real = match around.last().filter(|_| !is_link) {
                    Some(parent) => parent.join(&file_name),
                    None => path.canonicalize().map_err(Error::io(&path))?,
                };
                if around.contains(&real) {
                    self.passed_over.count("link in a circle");
                    continue;
                }
                if around.len() > DEPTH {
                    self.passed_over.count("folder too deep");
                    continue;
                }
                if part_of(&shown).is_some() {
                    self.part_folders.push(name.clone());
                }
                around.push(real);
                self.look(&Place { path: &path, below: &below, name: &name }, around)?;
                around.pop();
            } else if !there.is_file() {
                self.passed_over.count("no file: a pipe, socket or device");
            } else if shown.starts_with('.') {
                if kind == Kind::Image {
                    self.passed_over.count("hidden");
                }
            } else if let Kind::Other(ending) = kind {
                self.passed_over.count(&ending);
            } else {
                self.renamed += usize::from(below.to_str().is_none());
                self.files.push(ImageFile::new(name, &below));
            }
        }
        Ok(())
    }
}

#[derive(PartialEq, Eq)]
enum Kind {
    Image,
    /// The ending, or its absence, by which the file is counted.
    Other(String),
}

fn kind_by_ending(name: &str) -> Kind {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    match ending {
        Some(ending) if decode::EXTENSIONS.contains(&&*ending) => Kind::Image,
        Some(ending)
            if (1..=LONGEST_ENDING).contains(&ending.len()) && ending.chars().all(|c| c.is_ascii_alphanumeric()) =>
        {
            Kind::Other(format!(".{ending}"))
        }
        _ => Kind::Other("without an ending".into()),
    }
}

/// Whether a file or folder of this name was put there by an operating system, storage or a tool.
fn is_leftover(name: &str) -> bool {
    let name = name.to_lowercase();
    name.starts_with("._") || LEFTOVERS.contains(&&*name) || HIDDEN.iter().any(|hidden| name.starts_with(hidden))
}
