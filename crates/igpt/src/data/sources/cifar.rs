//! CIFAR-10 and CIFAR-100 in their binary version: records of one or two label bytes and a picture in colour planes.

use std::path::Path;
use std::sync::Arc;

use super::bundle::Bundle;
use super::catalog::{CIFAR10, CIFAR100, PublishedDataset};
use super::locate;
use super::packed::PackedSource;
use crate::data::{Dataset, OpenOptions};
use crate::image::ImageSize;
use crate::{Error, Result};

const SIDE: usize = 32;
const PLANE: usize = SIDE * SIDE;

/// Format of one of the two data sets.
struct Format {
    known: &'static PublishedDataset,
    bundle: Bundle,
    /// Label bytes before a picture; the last one is used (CIFAR-100's coarse label comes first).
    labels: usize,
}

/// Opens CIFAR-10; a seeded tenth of train becomes validation.
///
/// # Errors
/// When the data set is missing or damaged.
pub(crate) fn open_cifar10(options: &OpenOptions) -> Result<Dataset> {
    let members = &[
        "data_batch_1.bin",
        "data_batch_2.bin",
        "data_batch_3.bin",
        "data_batch_4.bin",
        "data_batch_5.bin",
        "test_batch.bin",
    ];
    let bundle =
        Bundle { archive: CIFAR10.files[0].name, folder: "cifar-10-batches-bin", members, largest: 10_000 * 3073 };
    open(&Format { known: &CIFAR10, bundle, labels: 1 }, options)
}

/// Opens CIFAR-100 with its 100 fine labels; a seeded tenth of train becomes validation.
///
/// # Errors
/// When the data set is missing or damaged.
pub(crate) fn open_cifar100(options: &OpenOptions) -> Result<Dataset> {
    let members = &["test.bin", "train.bin"];
    let bundle =
        Bundle { archive: CIFAR100.files[0].name, folder: "cifar-100-binary", members, largest: 50_000 * 3074 };
    open(&Format { known: &CIFAR100, bundle, labels: 2 }, options)
}

fn open(format: &Format, options: &OpenOptions) -> Result<Dataset> {
    let dir = locate::find(format.known, options, |dir| format.bundle.is_in(dir))?;
    let mut packed = PackedSource::new(ImageSize::square(SIDE), 3);
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for ((path, bytes), name) in format.bundle.read(&dir)?.iter().zip(format.bundle.members) {
        let from = packed.labels.len() as u32;
        append(&mut packed, format, path, name, bytes)?;
        let part = if name.starts_with("test") { &mut test } else { &mut train };
        part.extend(from..packed.labels.len() as u32);
    }
    let known = format.known;
    Ok(Dataset::with_carved_validation(known.name, known.classes, Arc::new(packed), train, test, options.seed))
}

fn append(packed: &mut PackedSource, format: &Format, path: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let record = format.labels + 3 * PLANE;
    if bytes.is_empty() || !bytes.len().is_multiple_of(record) {
        return Err(Error::format(
            path,
            format!("{} bytes, which are no whole records of {record} bytes: copy the file again", bytes.len()),
        ));
    }
    let (mut pixels, mut labels) = (Vec::with_capacity(bytes.len()), Vec::new());
    for record in bytes.chunks_exact(record) {
        let (label, planes) = record.split_at(format.labels);
        let label = label[format.labels - 1] as u32;
        if label as usize >= format.known.classes.len() {
            let problem = format!("label {label}, but there are {} classes", format.known.classes.len());
            return Err(Error::format(path, problem));
        }
        labels.push(label);
        pixels.extend((0..PLANE).flat_map(|p| [planes[p], planes[PLANE + p], planes[2 * PLANE + p]]));
    }
    packed.push_file(name, &pixels, labels);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::data::Split;

    /// `n` records of which record i has label i % 10 (after a coarse label of 9) and planes i, i + 1, i + 2, but its
    /// first pixel's red is 77.
    fn records(n: usize, labels: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for i in 0..n {
            bytes.extend([9, (i % 10) as u8].iter().skip(2 - labels));
            (0..3).for_each(|c| bytes.extend([(i + c) as u8; PLANE]));
            let at = bytes.len() - 3 * PLANE;
            bytes[at] = 77;
        }
        bytes
    }

    fn tar_gz(path: &Path, folder: &str, files: &[(String, Vec<u8>)]) {
        let gz = flate2::write::GzEncoder::new(std::fs::File::create(path).unwrap(), flate2::Compression::fast());
        let mut archive = tar::Builder::new(gz);
        for (name, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, format!("{folder}/{name}"), bytes.as_slice()).unwrap();
        }
        archive.into_inner().unwrap().finish().unwrap();
    }

    fn files10() -> Vec<(String, Vec<u8>)> {
        let mut files: Vec<_> = (1..=5).map(|k| (format!("data_batch_{k}.bin"), records(20, 1))).collect();
        files.push(("test_batch.bin".into(), records(7, 1)));
        files
    }

    fn options(dir: &Path) -> OpenOptions {
        OpenOptions { data_dir: Some(dir.to_owned()), ..OpenOptions::default() }
    }

    fn check10(set: &Dataset) {
        assert_eq!((set.train.len(), set.validation.len(), set.test.len(), set.channels), (90, 10, 7, 3));
        let pixels = set.test.pixels(4).unwrap();
        assert_eq!((&pixels.data[..6], set.test.label(4)), (&[77, 5, 6, 4, 5, 6][..], Some(4)));
        assert_eq!((set.test.name(4), set.classes[4].as_str()), ("test_batch.bin/00004".into(), "deer"));
        let all = set.split(Split::All).unwrap();
        assert!((1..all.len()).all(|i| all.name(i - 1) < all.name(i)));
    }

    #[test]
    fn cifar10_opens_from_files_a_folder_or_the_archive() {
        let dir = tempfile::tempdir().unwrap();
        tar_gz(&dir.path().join("cifar-10-binary.tar.gz"), "cifar-10-batches-bin", &files10());
        check10(&open_cifar10(&options(dir.path())).unwrap());

        for folder in ["", "cifar-10-batches-bin", "cifar10/cifar-10-batches-bin"] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
            files10()
                .iter()
                .for_each(|(name, bytes)| std::fs::write(dir.path().join(folder).join(name), bytes).unwrap());
            check10(&open_cifar10(&options(dir.path())).unwrap());
        }
    }

    #[test]
    fn cifar100_uses_its_fine_labels() {
        let dir = tempfile::tempdir().unwrap();
        let files = [("train.bin".to_owned(), records(30, 2)), ("test.bin".to_owned(), records(5, 2))];
        tar_gz(&dir.path().join("cifar-100-binary.tar.gz"), "cifar-100-binary", &files);
        let set = open_cifar100(&options(dir.path())).unwrap();
        assert_eq!((set.train.len(), set.validation.len(), set.test.len(), set.classes.len()), (27, 3, 5, 100));
        assert_eq!((set.test.label(3), set.test.pixels(3).unwrap().data[1]), (Some(3), 4));
    }

    #[test]
    fn files_of_wrong_length_and_wrong_labels_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
        files10().iter().for_each(|(name, bytes)| write(name, bytes));
        let whole = records(20, 1);
        let mut wrong = whole.clone();
        wrong[0] = 10;
        for (bytes, words) in [(&whole[..whole.len() - 1], "no whole records"), (&[], "0 bytes"), (&wrong, "label 10")]
        {
            write("data_batch_3.bin", bytes);
            let error = open_cifar10(&options(dir.path())).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("data_batch_3.bin"), "{error}");
        }
    }

    #[test]
    fn an_archive_is_held_against_its_checksum_even_where_nothing_more_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cifar-10-binary.tar.gz");
        let mut files = files10();
        files.push(("readme.html".into(), vec![b' '; 5000]));
        tar_gz(&path, "cifar-10-batches-bin", &files);
        check10(&open_cifar10(&options(dir.path())).unwrap());
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.len() - 8;
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let error = open_cifar10(&options(dir.path())).unwrap_err().to_string();
        assert!(error.contains("cifar-10-binary.tar.gz") && error.contains("damaged archive"), "{error}");
    }

    #[test]
    fn an_archive_is_not_asked_for_more_memory_than_the_published_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cifar-10-binary.tar.gz");
        let refusal = |change: &dyn Fn(&mut tar::Builder<flate2::write::GzEncoder<std::fs::File>>)| {
            let file = std::fs::File::create(&path).unwrap();
            let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(file, flate2::Compression::fast()));
            for (name, bytes) in &files10()[..5] {
                let mut header = tar::Header::new_gnu();
                header.set_size(bytes.len() as u64);
                archive.append_data(&mut header, format!("cifar-10-batches-bin/{name}"), bytes.as_slice()).unwrap();
            }
            change(&mut archive);
            archive.into_inner().unwrap().finish().unwrap();
            open_cifar10(&options(dir.path())).unwrap_err().to_string()
        };
        let entry = |kind: tar::EntryType, size: u64, name: &str| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_size(size);
            header.set_path(name).unwrap();
            header.set_cksum();
            header
        };
        let test = "cifar-10-batches-bin/test_batch.bin";
        let huge = refusal(&|archive| {
            let header = entry(tar::EntryType::Regular, 64 << 20, test);
            archive.append(&header, std::io::repeat(0).take(64 << 20)).unwrap();
        });
        assert!(huge.contains("test_batch.bin in the archive has 67108864 bytes"), "{huge}");
        let absurd = refusal(&|archive| {
            archive.append(&entry(tar::EntryType::Regular, 1 << 60, test), std::io::empty()).unwrap();
        });
        assert!(absurd.contains("has 1152921504606846976 bytes"), "{absurd}");
        for kind in [tar::EntryType::GNUSparse, tar::EntryType::Symlink, tar::EntryType::Directory] {
            let odd = refusal(&|archive| archive.append(&entry(kind, 0, test), std::io::empty()).unwrap());
            assert!(odd.contains("is not a plain file"), "{odd}");
        }
        // A name of 64 MiB is passed over, not read.
        let long = refusal(&|archive| {
            let header = entry(tar::EntryType::GNULongName, 64 << 20, "././@LongLink");
            archive.append(&header, std::io::repeat(b'a').take(64 << 20)).unwrap();
        });
        assert!(long.contains("there is no test_batch.bin"), "{long}");
        let cut = refusal(&|archive| {
            archive.append(&entry(tar::EntryType::Regular, 30_730_000, test), &[0; 512][..]).unwrap();
        });
        assert!(cut.contains("cifar-10-binary.tar.gz") && cut.contains("test_batch.bin"), "{cut}");
        let twice = refusal(&|archive| {
            for _ in 0..2 {
                archive.append(&entry(tar::EntryType::Regular, 3073, test), &[0; 3073][..]).unwrap();
            }
        });
        assert!(twice.contains("test_batch.bin in the archive is there twice"), "{twice}");
    }

    #[test]
    fn a_damaged_archive_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cifar-10-binary.tar.gz");
        tar_gz(&path, "cifar-10-batches-bin", &files10()[1..]);
        let error = open_cifar10(&options(dir.path())).unwrap_err().to_string();
        assert!(error.contains("no data_batch_1.bin in the archive"), "{error}");
        let bytes = std::fs::read(&path).unwrap();
        for damaged in [&bytes[..bytes.len() / 2], b"no archive"] {
            std::fs::write(&path, damaged).unwrap();
            let error = open_cifar10(&options(dir.path())).unwrap_err().to_string();
            assert!(error.contains("damaged archive") && error.contains("cifar-10-binary.tar.gz"), "{error}");
        }
    }
}
