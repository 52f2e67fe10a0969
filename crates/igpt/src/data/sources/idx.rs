//! MNIST's file format IDX (big-endian header, then bytes), gzipped or not, and the data sets in that format.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use super::catalog::PublishedDataset;
use super::locate;
use super::packed::PackedSource;
use crate::data::{Dataset, OpenOptions};
use crate::image::ImageSize;
use crate::{Error, Result, files};

/// An IDX array of bytes: its dimensions and its elements, the last dimension fastest.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct IdxArray {
    /// Sizes of the dimensions, at least one.
    pub dims: Vec<usize>,
    /// As many bytes as the dimensions multiply to.
    pub data: Vec<u8>,
}

/// Largest data length that a header may claim at all, and per byte of the file.
///
/// Published sets are compressed to a tenth, a hostile file to a thousandth.
const LARGEST: u64 = 64 << 20;
const LARGEST_RATIO: u64 = 64;

/// Reads an IDX file of unsigned bytes, gzipped or not, to its end; takes no more memory than the header claims.
///
/// # Errors
/// When the file can't be read, has another magic number, a length that is not the header's or is out of proportion, or
/// data that don't match gzip's checksum.
pub(crate) fn read(path: &Path) -> Result<IdxArray> {
    let file = files::open(path)?;
    let length = file.metadata().map_err(Error::io(path))?.len();
    let mut file = BufReader::new(file);
    let gzipped = file.fill_buf().map_err(Error::io(path))?.starts_with(&[0x1f, 0x8b]);
    let damaged = |e: std::io::Error| match gzipped {
        true => Error::format(path, format!("damaged gzip data ({e}): copy the file again")),
        false => Error::io(path)(e),
    };
    let mut reader: Box<dyn Read> =
        if gzipped { Box::new(flate2::bufread::MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut number = |what: &str| {
        let mut bytes = Vec::new();
        reader.by_ref().take(4).read_to_end(&mut bytes).map_err(damaged)?;
        let bytes = bytes.try_into().map_err(|_| Error::format(path, format!("{what}: copy the file again")))?;
        Ok(u32::from_be_bytes(bytes) as usize)
    };
    let magic = number("shorter than an IDX header")?;
    // The magic number is two zeros, the type (8 is unsigned byte) and the number of dimensions.
    if magic >> 8 != 8 || magic & 255 == 0 || magic & 255 > 8 {
        return Err(Error::format(path, format!("not an IDX file of bytes (magic number {magic:#010x})")));
    }
    let dims = (0..magic & 255).map(|_| number("the IDX header is cut off")).collect::<Result<Vec<usize>>>()?;
    let said = dims.iter().map(usize::to_string).collect::<Vec<_>>().join("×");
    let expected = dims.iter().try_fold(1u64, |product, &d| product.checked_mul(d as u64));
    let most = LARGEST.saturating_add(LARGEST_RATIO.saturating_mul(length));
    let mut data = Vec::new();
    if let Some(expected) = expected.filter(|expected| *expected <= most) {
        let room = usize::try_from(expected).ok().and_then(|room| data.try_reserve_exact(room).ok());
        room.ok_or_else(|| Error::format(path, format!("there is no memory for the {said} bytes of its header")))?;
        reader.by_ref().take(expected).read_to_end(&mut data).map_err(damaged)?;
    }
    // The checksum follows after all data.
    let have = data.len() as u64 + std::io::copy(&mut reader, &mut std::io::sink()).map_err(damaged)?;
    if expected != Some(have) {
        return Err(Error::format(
            path,
            format!("the header says {said} bytes but {have} follow: copy the file again"),
        ));
    }
    if data.len() as u64 != have {
        return Err(Error::format(path, format!("{have} bytes unpack from {length}, which no images do: refused")));
    }
    Ok(IdxArray { dims, data })
}

/// Opens [`super::catalog::MNIST`] or a data set in the same format; a seeded tenth of train becomes validation.
///
/// # Errors
/// When files are missing or damaged.
pub(crate) fn open(known: &PublishedDataset, options: &OpenOptions) -> Result<Dataset> {
    let dir = locate::find(known, options, |dir| FILES.iter().flatten().all(|stem| file(dir, stem).is_some()))?;
    let mut packed: Option<PackedSource> = None;
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

/// Files of images and labels, in file-name order.
const FILES: [[&str; 2]; 2] =
    [["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"], ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"]];

fn file(dir: &Path, stem: &str) -> Option<std::path::PathBuf> {
    // Some tools unpack `train-images-idx3-ubyte` as `train-images.idx3-ubyte`.
    let dotted = stem.replace("-idx", ".idx");
    [stem.to_owned(), format!("{stem}.gz"), dotted].iter().map(|name| dir.join(name)).find(|path| path.is_file())
}

fn append(packed: &mut Option<PackedSource>, name: &str, images: &Path, labels: &Path, classes: usize) -> Result<()> {
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
    let packed = packed.get_or_insert_with(|| PackedSource::new(size, 1));
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
    use crate::data::{Split, sources::catalog::MNIST};
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
    fn no_more_is_unpacked_than_the_header_and_the_files_length_allow() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("train-images-idx3-ubyte.gz");
        let refusal = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            read(&path).unwrap_err().to_string()
        };
        // 96 MiB of zeros behind a header of 24 bytes, and behind one that tells the truth.
        let bomb = |dims: &[u32]| {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            writer.write_all(&idx(dims, &[])).unwrap();
            std::io::copy(&mut std::io::repeat(0).take(96 << 20), &mut writer).unwrap();
            writer.finish().unwrap()
        };
        assert!(refusal(&bomb(&[4, 2, 3])).contains("says 4×2×3 bytes but 100663296 follow"));
        let honest = refusal(&bomb(&[96, 1 << 10, 1 << 10]));
        assert!(honest.contains("100663296 bytes unpack from") && honest.contains("refused"), "{honest}");
        assert!(refusal(&gzip(&idx(&[u32::MAX; 8], &[7; 24]))).contains("but 24 follow"));
        // As far as the header says all is there; only the checksum behind it knows of the flipped bit.
        let mut flipped = gzip(&idx(&[4, 2, 3], &[7; 24]));
        let at = flipped.len() - 8;
        flipped[at] ^= 1;
        assert!(refusal(&flipped).contains("damaged gzip data"), "{}", refusal(&flipped));
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
