//! MNIST's file format IDX (big-endian header, then bytes), gzipped or not, and the data sets that come in it.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::catalog::Known;
use super::locate;
use super::packed::Packed;
use super::{Dataset, OpenOptions};
use crate::{Error, Result, files, model::ImageSize};

/// An IDX array of bytes: its dimensions and its elements, the last dimension fastest.
#[derive(Debug, PartialEq, Eq)]
pub struct Idx {
    /// Sizes of the dimensions, at least one.
    pub dims: Vec<usize>,
    /// As many bytes as the dimensions multiply to.
    pub data: Vec<u8>,
}

/// Reads an IDX file of unsigned bytes, gzipped or not.
///
/// # Errors
/// When the file can't be read, its magic number is another, or its length is not what the header says.
pub fn read(path: &Path) -> Result<Idx> {
    let bytes = read_maybe_gzipped(path)?;
    let number = |at: usize| bytes.get(at..at + 4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]) as usize);
    let magic = number(0).ok_or_else(|| Error::format(path, "shorter than an IDX header: copy the file again"))?;
    // The magic number is two zeros, the type (8 is unsigned byte) and the number of dimensions.
    if magic >> 8 != 8 || magic & 255 == 0 || magic & 255 > 8 {
        return Err(Error::format(path, format!("not an IDX file of bytes (magic number {magic:#010x})")));
    }
    let n = magic & 255;
    let dims: Option<Vec<usize>> = (0..n).map(|i| number(4 + 4 * i)).collect();
    let dims = dims.ok_or_else(|| Error::format(path, "the IDX header is cut off: copy the file again"))?;
    let (header, have) = (4 + 4 * n, bytes.len() - 4 - 4 * n);
    let expected = dims.iter().try_fold(1usize, |product, &d| product.checked_mul(d));
    if expected != Some(have) {
        let said = dims.iter().map(usize::to_string).collect::<Vec<_>>().join("×");
        return Err(Error::format(
            path,
            format!("the header says {said} bytes but {have} follow: copy the file again"),
        ));
    }
    let mut data = bytes;
    data.drain(..header);
    Ok(Idx { dims, data })
}

/// A file's bytes, unpacked if they start as gzip does.
fn read_maybe_gzipped(path: &Path) -> Result<Vec<u8>> {
    let bytes = files::read(path)?;
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut unpacked = Vec::new();
    let read = flate2::read::MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut unpacked);
    read.map_err(|e| Error::format(path, format!("damaged gzip data ({e}): copy the file again")))?;
    Ok(unpacked)
}

/// Opens [`super::catalog::MNIST`] or one like it; a seeded tenth of train becomes validation.
///
/// # Errors
/// When files are missing or damaged.
pub fn open(known: &Known, options: &OpenOptions) -> Result<Dataset> {
    let dir = locate::find(known, options, |dir| FILES.iter().flatten().all(|stem| file(dir, stem).is_some()))?;
    let mut packed: Option<Packed> = None;
    for [images, labels] in FILES {
        // `find` saw both; a race is reported as the plain name that can't be read.
        let path = |stem: &str| file(&dir, stem).unwrap_or_else(|| dir.join(stem));
        append(&mut packed, images, &path(images), &path(labels), known.classes.len())?;
    }
    let packed = packed.expect("FILES is not empty");
    let tests = packed.names.iter().take_while(|name| name.starts_with("t10k")).count() as u32;
    let (test, train) = ((0..tests).collect(), (tests..packed.names.len() as u32).collect());
    Ok(Dataset::with_carved_validation(known.name, known.classes, Arc::new(packed), train, test, options.seed))
}

/// Images and labels, in file-name order.
const FILES: [[&str; 2]; 2] =
    [["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"], ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"]];

fn file(dir: &Path, stem: &str) -> Option<std::path::PathBuf> {
    // Some tools unpack `train-images-idx3-ubyte` as `train-images.idx3-ubyte`.
    let dotted = stem.replace("-idx", ".idx");
    [stem.to_owned(), format!("{stem}.gz"), dotted].iter().map(|name| dir.join(name)).find(|path| path.is_file())
}

fn append(packed: &mut Option<Packed>, name: &str, images: &Path, labels: &Path, classes: usize) -> Result<()> {
    let (pictures, classed) = (read(images)?, read(labels)?);
    let &[n, height, width] = pictures.dims.as_slice() else {
        return Err(Error::format(images, format!("{} dimensions, but images have 3", pictures.dims.len())));
    };
    if classed.dims != [n] {
        return Err(Error::format(labels, format!("labels of shape {:?} for {n} images", classed.dims)));
    }
    if let Some(label) = classed.data.iter().find(|&&l| l as usize >= classes) {
        return Err(Error::format(labels, format!("label {label}, but there are {classes} classes")));
    }
    let size = ImageSize { height, width };
    let packed = packed.get_or_insert_with(|| Packed::new(size, 1));
    if size.pixels() == 0 || size != packed.size {
        return Err(Error::format(images, format!("images of {size}, where {} was expected", packed.size)));
    }
    let stem = name.split_once("-images").map_or(name, |(stem, _)| stem);
    packed.push_file(stem, &pictures.data, classed.data.iter().map(|&l| l as u32));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Split;
    use crate::data::catalog::MNIST;
    use std::io::Write;

    fn idx(dims: &[u32], data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, dims.len() as u8];
        dims.iter().for_each(|d| bytes.extend(d.to_be_bytes()));
        bytes.extend(data);
        bytes
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    /// 40 train images of 2×3 (gzipped) and 10 test images (plain).
    fn write_set(dir: &Path) {
        let pixels = |n: u32, from: u32| (0..n * 6).map(|i| (i + from) as u8).collect::<Vec<_>>();
        let labels = |n: u32| (0..n).map(|i| (i % 10) as u8).collect::<Vec<_>>();
        std::fs::write(dir.join("train-images-idx3-ubyte.gz"), gzip(&idx(&[40, 2, 3], &pixels(40, 0)))).unwrap();
        std::fs::write(dir.join("train-labels-idx1-ubyte.gz"), gzip(&idx(&[40], &labels(40)))).unwrap();
        std::fs::write(dir.join("t10k-images-idx3-ubyte"), idx(&[10, 2, 3], &pixels(10, 100))).unwrap();
        std::fs::write(dir.join("t10k-labels-idx1-ubyte"), idx(&[10], &labels(10))).unwrap();
    }

    fn options(dir: &Path) -> OpenOptions {
        OpenOptions { data_dir: Some(dir.to_owned()), ..OpenOptions::default() }
    }

    #[test]
    fn a_set_opens_gzipped_or_not_with_a_tenth_for_validation() {
        let dir = tempfile::tempdir().unwrap();
        write_set(dir.path());
        let set = open(&MNIST, &options(dir.path())).unwrap();
        assert_eq!((set.train.len(), set.validation.len(), set.test.len(), set.channels), (36, 4, 10, 1));
        let pixels = set.test.pixels(1).unwrap();
        assert_eq!(pixels.size, ImageSize { height: 2, width: 3 });
        assert_eq!(pixels.data, [106, 107, 108, 109, 110, 111]);
        assert_eq!((set.test.label(3), set.test.name(3)), (Some(3), "t10k/00003".to_owned()));
        let all = set.split(Split::All).unwrap();
        assert!((1..all.len()).all(|i| all.name(i - 1) < all.name(i)));
    }

    #[test]
    fn damaged_files_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("train-images-idx3-ubyte");
        let whole = idx(&[4, 2, 3], &[7; 24]);
        let mut wrong_magic = whole.clone();
        wrong_magic[2] = 0x0d;
        let mut gzipped = gzip(&whole);
        gzipped.truncate(gzipped.len() - 9);
        let huge = idx(&[u32::MAX; 3], &[7; 24]);
        for (bytes, words) in [
            (&whole[..whole.len() - 1], "header says 4×2×3 bytes but 23 follow"),
            (&whole[..9], "header is cut off"),
            (&whole[..3], "shorter than an IDX header"),
            (&wrong_magic, "not an IDX file of bytes (magic number 0x00000d03)"),
            (&gzipped, "damaged gzip data"),
            (&huge, "bytes but 24 follow"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("train-images-idx3-ubyte"), "{error}");
        }
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(read(&path).unwrap().dims, [4, 2, 3]);
    }

    #[test]
    fn labels_must_match_their_images() {
        let dir = tempfile::tempdir().unwrap();
        write_set(dir.path());
        let labels = dir.path().join("t10k-labels-idx1-ubyte");
        for (bytes, words) in [(idx(&[9], &[1; 9]), "[9] for 10 images"), (idx(&[10], &[10; 10]), "label 10")] {
            std::fs::write(&labels, bytes).unwrap();
            let error = open(&MNIST, &options(dir.path())).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("t10k-labels"), "{error}");
        }
    }
}
