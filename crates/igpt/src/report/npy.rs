//! NumPy arrays of images and tokens (`.npy` format version 1.0).

use std::path::Path;

use crate::Result;
use crate::data::Pixels;
use crate::model::ImageSize;
use crate::report::png::write;

/// Writes images as u8 of shape (N, H, W, C). Panics unless they have one size and number of channels.
pub fn save_images(path: impl AsRef<Path>, images: &[Pixels]) -> Result<()> {
    let (size, channels) = images.first().map_or((ImageSize::square(0), 3), |image| (image.size, image.channels));
    let mut bytes = header("|u1", &[images.len(), size.height, size.width, channels]);
    for image in images {
        assert!(image.size == size && image.channels == channels, "images of an array are alike");
        bytes.extend_from_slice(&image.data);
    }
    write(path.as_ref(), &bytes)
}

/// Writes token sequences as u16 of shape (N, n_ctx). Panics unless they have one length.
pub fn save_tokens(path: impl AsRef<Path>, images: &[Vec<u16>]) -> Result<()> {
    let n_ctx = images.first().map_or(0, Vec::len);
    let mut bytes = header("<u2", &[images.len(), n_ctx]);
    for image in images {
        assert_eq!(image.len(), n_ctx, "images of an array are alike");
        bytes.extend(image.iter().flat_map(|token| token.to_le_bytes()));
    }
    write(path.as_ref(), &bytes)
}

/// Magic, version and the dictionary, padded so that the data begin at a multiple of 128 bytes: always the first, unless
/// the shape is absurd, so that a header can be written again when the number of images is known.
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
