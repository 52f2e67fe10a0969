//! Images of a data set that also belong to another one, recognised by the bytes of their files under any name.

use std::collections::{HashMap, HashSet};
use std::fs;

use super::Images;
use crate::checksum::sha256_file;

/// Whether a file with the same bytes is among `others`, for each of `images`; `None` if either set has no files.
///
/// Sizes are compared first, and only files of a size in both sets are read. An unreadable file is not a copy.
pub(crate) fn same_files(images: &Images, others: &Images) -> Vec<Option<bool>> {
    let size = |images: &Images, i: usize| Some(fs::metadata(images.path(i)?).ok()?.len());
    let has_files = |images: &Images| !images.is_empty() && images.path(0).is_some();
    if !has_files(images) || !has_files(others) {
        return vec![None; images.len()];
    }
    let mut by_size: HashMap<u64, Vec<usize>> = HashMap::new();
    let wanted: HashSet<u64> = (0..images.len()).filter_map(|i| size(images, i)).collect();
    for i in 0..others.len() {
        if let Some(size) = size(others, i).filter(|size| wanted.contains(size)) {
            by_size.entry(size).or_default().push(i);
        }
    }
    let hash = |images: &Images, i: usize| sha256_file(&images.path(i)?).ok();
    let mut hashes: HashMap<u64, HashSet<String>> = HashMap::new();
    let mut is_same = |i: usize| -> Option<bool> {
        let size = size(images, i)?;
        let alike = by_size.get(&size)?;
        let known = hashes.entry(size).or_insert_with(|| alike.iter().filter_map(|&i| hash(others, i)).collect());
        Some(known.contains(&hash(images, i)?))
    };
    (0..images.len()).map(|i| Some(is_same(i).unwrap_or(false))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::sources::folder;

    #[test]
    fn copies_are_found_under_other_names_and_images_of_the_same_size_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let save = |name: &str, color: u8| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            image::RgbImage::from_pixel(4, 4, image::Rgb([color; 3])).save(path).unwrap();
        };
        for (name, color) in [("a/1.bmp", 1), ("a/2.bmp", 2), ("b/x.bmp", 2), ("b/y.bmp", 3)] {
            save(name, color);
        }
        fs::write(dir.path().join("b/z.png"), "another size").unwrap();
        let all = |name: &str| folder::open(&dir.path().join(name), 0).unwrap().split(crate::data::Split::All).unwrap();
        assert_eq!(same_files(&all("b"), &all("a")), [Some(true), Some(false), Some(false)]);
        let emoji = crate::data::open("emoji", &Default::default()).unwrap().test.take(2);
        assert_eq!(same_files(&emoji, &all("a")), [None, None]);
        assert_eq!(same_files(&all("a"), &emoji), [None, None]);
    }
}
