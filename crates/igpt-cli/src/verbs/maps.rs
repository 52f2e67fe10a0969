//! Pictures of maps in a folder, one for each image: `maps/001-cat.png`.

use std::path::{Path, PathBuf};

use igpt::{Result, files};

/// Where the picture of the image called `name` lies in `out`; `number` tells it from others of that name.
pub(crate) fn path(out: &Path, number: usize, name: &str) -> PathBuf {
    out.join("maps").join(format!("{number:03}-{}.png", file_name(name)))
}

/// Removes the pictures of an earlier call with the same `--out`, which may have shown other images.
pub(crate) fn remove_earlier(out: &Path) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(out.join("maps")) else { return Ok(()) };
    entries
        .flatten()
        .filter(|entry| is_map(&entry.file_name().to_string_lossy()))
        .try_for_each(|entry| files::remove(&entry.path()))
}

/// Whether a file has a name that [`path`] gives: `001-cat.png`.
fn is_map(name: &str) -> bool {
    let rank = name.split_once('-').filter(|_| name.ends_with(".png")).map_or("", |(rank, _)| rank);
    rank.len() >= 3 && rank.bytes().all(|b| b.is_ascii_digit())
}

/// An image's name as part of a file's.
fn file_name(name: &str) -> String {
    let stem = Path::new(name).file_stem().map_or(name.into(), |stem| stem.to_string_lossy());
    stem.chars().map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' }).take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_with_names_of_maps_are_taken_for_them() {
        assert!(is_map("001-cat.png") && is_map("1234-a-b.png"));
        assert!(!is_map("12-cat.png") && !is_map("001-cat.jpg") && !is_map("notes.png") && !is_map("00a-x.png"));
    }

    #[test]
    fn names_become_safe_file_names() {
        assert_eq!(file_name("train/cats & dogs/42.jpg"), "42");
        assert_eq!(file_name("a b/c:d x.png"), "c_d_x");
    }
}
