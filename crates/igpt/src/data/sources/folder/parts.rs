//! The names that folders of a data set's parts have.

/// The parts by name.
pub(super) const PARTS: [&str; 3] = ["train", "validation", "test"];

/// Which of (train, validation, test) a folder of this name is.
pub(crate) fn part_of(folder: &str) -> Option<usize> {
    match &*folder.to_ascii_lowercase() {
        "train" | "training" => Some(0),
        "validation" | "valid" | "val" | "dev" => Some(1),
        "test" | "testing" | "eval" | "evaluation" => Some(2),
        _ => None,
    }
}
