//! STL-10 in its binary version: pictures in colour planes, each plane column after column, labels from 1.

use std::path::Path;
use std::sync::Arc;

use super::bundle::{Bundle, Member};
use super::catalog::STL10;
use super::locate;
use super::packed::PackedSource;
use crate::data::{Dataset, OpenOptions};
use crate::image::ImageSize;
use crate::{Error, Result};

const SIDE: usize = 96;
const PLANE: usize = SIDE * SIDE;
const BUNDLE: Bundle = Bundle {
    archive: STL10.files[0].name,
    folder: "stl10_binary",
    members: &["test_X.bin", "test_y.bin", "train_X.bin", "train_y.bin"],
    largest: 8000 * 3 * 96 * 96,
};

/// Opens STL-10 without its unlabelled pictures; a seeded tenth of train becomes validation.
///
/// # Errors
/// When the data set is missing or damaged.
pub(crate) fn open(options: &OpenOptions) -> Result<Dataset> {
    let dir = locate::find(&STL10, options, |dir| BUNDLE.is_in(dir))?;
    let members = BUNDLE.read(&dir)?;
    let mut packed = PackedSource::new(ImageSize::square(SIDE), 3);
    append(&mut packed, "test_X.bin", &members[0], &members[1])?;
    let tests = packed.labels.len() as u32;
    append(&mut packed, "train_X.bin", &members[2], &members[3])?;
    let (train, test) = ((tests..packed.labels.len() as u32).collect(), (0..tests).collect());
    Ok(Dataset::with_carved_validation(STL10.name, STL10.classes, Arc::new(packed), train, test, options.seed))
}

fn append(
    packed: &mut PackedSource,
    name: &str,
    (path, pictures): &Member,
    (labels_path, labels): &Member,
) -> Result<()> {
    let wrong = |path: &Path, problem: String| Err(Error::format(path, format!("{problem}: copy the file again")));
    if pictures.is_empty() || !pictures.len().is_multiple_of(3 * PLANE) {
        return wrong(path, format!("{} bytes, which are no whole pictures of {} bytes", pictures.len(), 3 * PLANE));
    }
    let count = pictures.len() / (3 * PLANE);
    if labels.len() != count {
        return wrong(labels_path, format!("{} labels for {count} pictures", labels.len()));
    }
    if let Some(label) = labels.iter().find(|label| !(1..=STL10.classes.len()).contains(&(**label as usize))) {
        return wrong(labels_path, format!("label {label}, where 1 to {} are known", STL10.classes.len()));
    }
    let mut pixels = Vec::with_capacity(pictures.len());
    for planes in pictures.chunks_exact(3 * PLANE) {
        for y in 0..SIDE {
            pixels.extend((0..SIDE).flat_map(|x| [0, 1, 2].map(|c| planes[c * PLANE + x * SIDE + y])));
        }
    }
    packed.push_file(name, &pixels, labels.iter().map(|&label| label as u32 - 1));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Picture i: red is the row, green the column, blue i.
    fn pictures(n: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for i in 0..n {
            bytes.extend((0..PLANE).map(|p| (p % SIDE) as u8));
            bytes.extend((0..PLANE).map(|p| (p / SIDE) as u8));
            bytes.extend([i as u8; PLANE]);
        }
        bytes
    }

    fn write_set(dir: &Path) {
        for (part, n) in [("train", 10), ("test", 3)] {
            std::fs::write(dir.join(format!("{part}_X.bin")), pictures(n)).unwrap();
            std::fs::write(dir.join(format!("{part}_y.bin")), (1..=n as u8).collect::<Vec<_>>()).unwrap();
        }
    }

    fn options(dir: &Path) -> OpenOptions {
        OpenOptions { data_dir: Some(dir.to_owned()), ..OpenOptions::default() }
    }

    #[test]
    fn columns_become_rows_and_labels_start_at_zero() {
        let dir = tempfile::tempdir().unwrap();
        write_set(dir.path());
        let set = open(&options(dir.path())).unwrap();
        assert_eq!((set.train.len(), set.validation.len(), set.test.len()), (9, 1, 3));
        let pixels = set.test.pixels(2).unwrap();
        assert_eq!(pixels.data[(5 * SIDE + 40) * 3..][..3], [5, 40, 2]);
        assert_eq!((set.test.label(2), set.classes[2].as_str()), (Some(2), "car"));
    }

    #[test]
    fn the_archive_is_read_past_what_is_not_needed() {
        let (dir, unpacked) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write_set(unpacked.path());
        std::fs::write(unpacked.path().join("unlabeled_X.bin"), pictures(2)).unwrap();
        let file = std::fs::File::create(dir.path().join("stl10_binary.tar.gz")).unwrap();
        let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(file, flate2::Compression::fast()));
        archive.append_dir_all("stl10_binary", unpacked.path()).unwrap();
        archive.into_inner().unwrap().finish().unwrap();
        assert_eq!(open(&options(dir.path())).unwrap().train.len(), 9);
    }

    #[test]
    fn wrong_lengths_and_labels_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes, words) in [
            ("train_X.bin", pictures(1)[1..].to_vec(), "no whole pictures"),
            ("train_y.bin", vec![1; 9], "9 labels for 10 pictures"),
            ("test_y.bin", vec![1, 2, 0], "label 0"),
            ("test_y.bin", vec![1, 2, 11], "label 11"),
        ] {
            write_set(dir.path());
            std::fs::write(dir.path().join(name), bytes).unwrap();
            let error = open(&options(dir.path())).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains(name), "{error}");
        }
    }
}
