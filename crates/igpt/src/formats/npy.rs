//! NumPy arrays of images and tokens (`.npy` format version 1.0).
//!
//! ```
//! use igpt::formats::npy;
//!
//! # fn main() -> igpt::Result<()> {
//! # let folder = tempfile::tempdir().unwrap();
//! let path = folder.path().join("tokens.npy");
//! npy::save_tokens(&path, &[vec![0, 1, 2, 3], vec![3, 2, 1, 0]])?; // numpy.load gives shape (2, 4)
//! # assert!(path.exists());
//! # Ok(())
//! # }
//! ```

use std::path::Path;

use crate::Result;
use crate::files;
use crate::image::{ImageSize, Pixels};

/// Writes images as a `.npy` file of u8, (N, H, W, C).
///
/// Panics unless all have the same size and number of channels.
pub fn save_images(path: impl AsRef<Path>, images: &[Pixels]) -> Result<()> {
    let (size, channels) = images.first().map_or((ImageSize::square(0), 3), |image| (image.size, image.channels));
    let mut bytes = header("|u1", &[images.len(), size.height, size.width, channels]);
    for image in images {
        assert!(image.size == size && image.channels == channels, "images of an array are alike");
        bytes.extend_from_slice(&image.data);
    }
    files::write(path.as_ref(), &bytes)
}

/// Writes token sequences as a `.npy` file of u16, (N, n_ctx); panics unless all have the same length.
pub fn save_tokens(path: impl AsRef<Path>, images: &[Vec<u16>]) -> Result<()> {
    let n_ctx = images.first().map_or(0, Vec::len);
    let mut bytes = header("<u2", &[images.len(), n_ctx]);
    for image in images {
        assert_eq!(image.len(), n_ctx, "images of an array are alike");
        bytes.extend(image.iter().flat_map(|token| token.to_le_bytes()));
    }
    files::write(path.as_ref(), &bytes)
}

/// Makes the header: magic, version and the dictionary, padded so that the data begin at a multiple of 128 bytes.
///
/// This is always the first multiple, unless the shape is absurd. A header can therefore be written again when the
/// number of images is known.
pub(crate) fn header(descr: &str, shape: &[usize]) -> Vec<u8> {
    let shape: String = shape.iter().map(|n| format!("{n}, ")).collect();
    let mut dictionary = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({}), }}", shape.trim_end());
    let used = 10 + dictionary.len() + 1;
    dictionary.push_str(&" ".repeat(used.next_multiple_of(128) - used));
    dictionary.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((dictionary.len() as u16).to_le_bytes());
    bytes.extend(dictionary.as_bytes());
    bytes
}

/// An array of f32, f64 or u8, little endian, C order, in a file's bytes.
pub(crate) struct Array<'a> {
    /// The shape as in the header, without its parentheses.
    pub(crate) shape: &'a str,
    /// The sides of the shape, if they are numbers.
    pub(crate) sides: Option<Vec<usize>>,
    /// Bytes per number.
    width: usize,
    data: &'a [u8],
}

impl<'a> Array<'a> {
    /// Reads the header of an array.
    pub(crate) fn of(bytes: &'a [u8]) -> Result<Self, String> {
        const CUT: &str = "the file is cut off within its header";
        if !bytes.starts_with(b"\x93NUMPY") {
            return Err("not a .npy file: it doesn't begin with \\x93NUMPY".into());
        }
        let field = |range: std::ops::Range<usize>| bytes.get(range).ok_or(CUT);
        let (start, len) = match bytes.get(6).ok_or(CUT)? {
            1 => (10, field(8..10)?.iter().rev().fold(0, |len, &b| len << 8 | usize::from(b))),
            2 | 3 => (12, field(8..12)?.iter().rev().fold(0, |len, &b| len << 8 | usize::from(b))),
            version => return Err(format!(".npy version {version} is not known: save it again with a present NumPy")),
        };
        let dictionary = std::str::from_utf8(field(start..start + len)?).map_err(|_| "the .npy header is not text")?;
        let value = |key: &str| {
            let after = dictionary.split_once(&format!("'{key}':")).map(|(_, after)| after.trim_start());
            after.ok_or(format!("the .npy header has no {key}"))
        };
        let kind = value("descr")?.split('\'').nth(1).unwrap_or_default();
        let width = match kind {
            "<f4" => 4,
            "<f8" => 8,
            "|u1" => 1,
            _ => return Err(format!("the array is of type {kind:?}: save it as float32 (a.astype('<f4'))")),
        };
        if !value("fortran_order")?.starts_with("False") {
            return Err("the array is in Fortran order: save numpy.ascontiguousarray of it".into());
        }
        let shape = value("shape")?.strip_prefix('(').and_then(|shape| shape.split_once(')'));
        let (shape, _) = shape.ok_or("the .npy header's shape is no tuple")?;
        let sides = shape.trim_end().trim_end_matches(',').split(',').map(|n| n.trim().parse().ok()).collect();
        Ok(Self { shape, sides, width, data: &bytes[start + len..] })
    }

    /// Returns the numbers, if the file holds as many as its shape says.
    pub(crate) fn values(&self) -> Result<Vec<f64>, String> {
        let (shape, sides) = (self.shape, self.sides.as_deref().unwrap_or_default());
        let expected = sides.iter().try_fold(self.width, |bytes, side| bytes.checked_mul(*side));
        let expected = expected.ok_or_else(|| format!("shape ({shape}) is too large"))?;
        if self.data.len() != expected {
            return Err(format!(
                "shape ({shape}) takes {expected} bytes, but {} follow: the file is cut off or damaged",
                self.data.len()
            ));
        }
        let number = |b: &[u8]| match *b {
            [x] => f64::from(x),
            [a, b, c, d] => f64::from(f32::from_le_bytes([a, b, c, d])),
            _ => f64::from_le_bytes(std::array::from_fn(|i| b[i])),
        };
        Ok(self.data.chunks_exact(self.width).map(number).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (dictionary, data) of a file.
    fn read(path: &Path) -> (String, Vec<u8>) {
        let bytes = std::fs::read(path).unwrap();
        assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
        let data = 10 + u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
        assert!(data.is_multiple_of(64));
        (String::from_utf8(bytes[10..data].to_vec()).unwrap(), bytes[data..].to_vec())
    }

    #[test]
    fn arrays_have_the_shape_and_bytes_of_their_images() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("images.npy");
        let size = ImageSize { height: 2, width: 3 };
        let images = [0u8, 100].map(|first| Pixels::new(size, 3, (first..first + 18).collect()));
        save_images(&path, &images).unwrap();
        let (dictionary, data) = read(&path);
        assert!(dictionary.contains("'descr': '|u1'") && dictionary.contains("'shape': (2, 2, 3, 3,)"));
        assert_eq!(data, [&images[0].data[..], &images[1].data].concat());

        save_tokens(&path, &[vec![1, 258, 3], vec![4, 5, 600]]).unwrap();
        let (dictionary, data) = read(&path);
        assert!(dictionary.contains("'descr': '<u2'") && dictionary.contains("'shape': (2, 3,)"));
        assert_eq!(data, [1, 0, 2, 1, 3, 0, 4, 0, 5, 0, 88, 2]);
    }
}
