//! Fingerprints that distinguish the images of runs without decoding any: classes, names, labels, lengths of files, and
//! checksums of images in memory.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Dataset, Images};
use crate::checksum::hex;

/// Number of classes that a message about other classes names.
const NAMED: usize = 5;

/// Fingerprint of a data set, which checkpoints keep to recognise the images they were trained on.
///
/// It detects renamed, moved, relabelled, added and removed images. It detects replaced images if their files have
/// another length. In a token directory, and in images that were given in memory, it detects every change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fingerprint {
    /// Names of the classes, in order.
    pub classes: Vec<String>,
    /// SHA-256 of names, labels, and file lengths or checksums of the training images, in order, in hexadecimal.
    pub train: String,
    /// SHA-256 of the same of the validation images.
    pub validation: String,
    /// SHA-256 of the same of the test images.
    pub test: String,
    /// Checksum of the token directory, if the images come from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<String>,
}

impl Fingerprint {
    /// Computes the fingerprint of `dataset`; reads the lengths of a folder's files, but none of their contents.
    pub fn of(dataset: &Dataset) -> Self {
        Self {
            classes: dataset.classes.clone(),
            train: list(&dataset.train),
            validation: list(&dataset.validation),
            test: list(&dataset.test),
            tokens: dataset.train.tokens().map(super::TokenDir::checksum),
        }
    }

    /// Describes how the classes `now` differ from those of the fingerprint; `None` if they are the same.
    pub fn other_classes(&self, now: &[String]) -> Option<String> {
        if self.classes == now {
            return None;
        }
        let without = |these: &[String], others: &[String]| {
            let mut names: Vec<String> =
                these.iter().filter(|name| !others.contains(name)).map(|name| format!("`{name}`")).collect();
            if names.len() > NAMED {
                let more = names.len() - NAMED;
                names.truncate(NAMED);
                names.push(format!("{more} more"));
            }
            names.join(", ")
        };
        let (missing, new) = (without(&self.classes, now), without(now, &self.classes));
        Some(match (missing.as_str(), new.as_str()) {
            ("", "") => "the classes are in another order".into(),
            ("", new) => format!("class {new} is new"),
            (missing, "") => format!("class {missing} is missing"),
            (missing, new) => format!("class {missing} is missing and {new} is new"),
        })
    }

    /// Names the parts of the data set that differ between two fingerprints; empty if none does.
    pub fn other_images(&self, now: &Self) -> Vec<&'static str> {
        let pairs = [
            ("training images", self.train != now.train),
            ("validation images", self.validation != now.validation),
            ("test images", self.test != now.test),
            ("tokens", self.tokens != now.tokens),
        ];
        pairs.into_iter().filter(|(_, differ)| *differ).map(|(name, _)| name).collect()
    }
}

/// SHA-256 of the names, labels, and file lengths or checksums of `images`, in order.
fn list(images: &Images) -> String {
    let mut sha = Sha256::new();
    sha.update((images.len() as u64).to_le_bytes());
    for i in 0..images.len() {
        let name = images.name(i);
        sha.update((name.len() as u64).to_le_bytes());
        sha.update(name);
        sha.update(images.label(i).unwrap_or(u32::MAX).to_le_bytes());
        sha.update(images.bytes(i).or_else(|| images.checksum(i)).unwrap_or(u64::MAX).to_le_bytes());
    }
    hex(&sha.finalize())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::data::{OpenOptions, open};
    use crate::image::{ImageSize, Pixels};

    fn write(root: &Path, path: &str, bytes: &[u8]) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Files that are no pictures, since none is decoded.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (split, class, count) in [("train", "cat", 3), ("train", "dog", 3), ("test", "cat", 1), ("test", "dog", 1)]
        {
            (0..count).for_each(|i| write(folder.path(), &format!("{split}/{class}/{i}.png"), &[i; 40]));
        }
        folder
    }

    fn fingerprint(root: &Path) -> Fingerprint {
        Fingerprint::of(&open(root.to_str().unwrap(), &OpenOptions::default()).unwrap())
    }

    #[test]
    fn every_change_of_a_folder_but_of_bytes_within_a_file_is_seen() {
        let folder = folder();
        let root = folder.path();
        let before = fingerprint(root);
        assert_eq!(before, fingerprint(root));
        let rename = |from: &str, to: &str| fs::rename(root.join(from), root.join(to)).unwrap();
        // Renamed, relabelled, moved to another split, and back.
        for (from, to) in [
            ("train/cat/0.png", "train/cat/9.png"),
            ("train/cat/0.png", "train/dog/00.png"),
            ("train/cat/0.png", "test/cat/9.png"),
            ("train/dog", "train/zebra"),
        ] {
            rename(from, to);
            assert!(!before.other_images(&fingerprint(root)).is_empty(), "{from} to {to}");
            rename(to, from);
            assert_eq!(before, fingerprint(root));
        }
        write(root, "test/cat/0.png", &[7; 41]);
        assert_eq!(before.other_images(&fingerprint(root)), ["test images"]);
    }

    #[test]
    fn another_pixel_of_an_image_in_memory_is_seen() {
        let images = |bright: u8| {
            let image = |i: u8| Pixels::new(ImageSize::square(2), 1, vec![i, bright, 0, 0]);
            Fingerprint::of(&Dataset::from_images((0..20).map(image).collect()).unwrap())
        };
        assert_eq!(images(1), images(1));
        assert_eq!(images(1).other_images(&images(2)), ["training images", "validation images", "test images"]);
    }

    #[test]
    fn classes_that_are_missing_new_or_in_another_order_are_named() {
        let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let folder = folder();
        let before = fingerprint(folder.path());
        assert_eq!(before.other_classes(&names(&["cat", "dog"])), None);
        let said = |now: &[&str]| before.other_classes(&names(now)).unwrap();
        assert_eq!(said(&["dog", "zebra"]), "class `cat` is missing and `zebra` is new");
        assert_eq!(said(&["cat"]), "class `dog` is missing");
        assert_eq!(said(&["cat", "cow", "dog"]), "class `cow` is new");
        assert_eq!(said(&["dog", "cat"]), "the classes are in another order");
    }
}
