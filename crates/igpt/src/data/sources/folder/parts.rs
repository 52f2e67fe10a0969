//! Folder names of the parts of a data set.

/// Names of the parts.
pub(super) const PARTS: [&str; 3] = ["train", "validation", "test"];

/// Returns the part (train, validation, test) that a folder of this name is.
pub(crate) fn part_of(folder: &str) -> Option<usize> {
    match &*folder.to_ascii_lowercase() {
        "train" | "training" => Some(0),
        "validation" | "valid" | "val" | "dev" => Some(1),
        "test" | "testing" | "eval" | "evaluation" => Some(2),
        _ => None,
    }
}
