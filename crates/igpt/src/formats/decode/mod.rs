//! Decoding of image files: PNG, JPEG, WebP, GIF (its first frame), BMP and TIFF (its first page).
//!
//! The format follows from the contents, not the name. Exif orientation is applied, transparency is blended with white,
//! and 16 bits are rounded to 8. A truncated or otherwise damaged file is refused. So is a file of more pixels than
//! Pillow reads; `IGPT_MAX_IMAGE_PIXELS` changes this limit. An unsupported format is named as such.
//!
//! ```
//! use std::path::Path;
//!
//! use igpt::formats::decode;
//!
//! assert!(decode::EXTENSIONS.contains(&"png"));
//! let error = decode::read(Path::new("no/such.png"), 3).unwrap_err();
//! assert!(error.to_string().contains("no/such.png"));
//! ```

// Reading order: `guard`, `kind`, `limit`, `formats` with `jpeg`, `tiff`, `raw`.

mod formats;
mod guard;
mod jpeg;
mod kind;
mod limit;
mod problem;
mod raw;
#[cfg(feature = "tiff")]
mod tiff;

use std::path::Path;

use self::guard::guarded;
use self::kind::Kind;
use self::limit::Limit;
pub use self::problem::NOT_SUPPORTED;
use self::problem::Problem;
use crate::image::Pixels;
use crate::{Error, Result, files};

/// File name extensions of the supported image formats.
pub const EXTENSIONS: [&str; 12] =
    ["png", "jpg", "jpeg", "jpe", "jfif", "pjpeg", "pjp", "webp", "gif", "bmp", "tif", "tiff"];

/// Decodes the image file at `path` to 1 or 3 `channels`.
///
/// # Errors
/// When the file can't be read, is truncated or otherwise damaged, has too many pixels, or has an unsupported format. In
/// the last case the problem begins with [`NOT_SUPPORTED`].
pub fn read(path: &Path, channels: usize) -> Result<Pixels> {
    let bytes = files::read(path)?;
    Limit::of_files()
        .and_then(|limit| decode(&bytes, channels, &limit))
        .map_err(|problem| Error::format(path, problem.to_string()))
}

/// Decodes an image file's bytes from an untrusted place, with a limit of `most` pixels.
///
/// A larger image is refused by its header, before anything is decoded.
///
/// # Errors
/// Same as [`read`].
pub fn from_bytes(bytes: &[u8], channels: usize, most: usize) -> Result<Pixels> {
    Limit::of_files()
        .and_then(|limit| decode(bytes, channels, &limit.or(most as u64)))
        .map_err(|problem| Error::Invalid(format!("the image can't be read: {problem}")))
}

/// Decodes the image, or returns what is wrong with it. A decoder that panics has met damage that it did not expect.
fn decode(bytes: &[u8], channels: usize, limit: &Limit) -> Result<Pixels, Problem> {
    guarded(|| decode_kind(bytes, channels, limit))
        .unwrap_or_else(|| Err(Problem::damaged("the decoder gave up on it: convert it to PNG")))
}

fn decode_kind(bytes: &[u8], channels: usize, limit: &Limit) -> Result<Pixels, Problem> {
    let (raw, orientation) = match Kind::of(bytes)? {
        #[cfg(feature = "tiff")]
        Kind::Tiff => tiff::decode(bytes, limit)?,
        kind => formats::decode(bytes, kind, limit)?,
    };
    raw::turned(raw::into_channels(raw.on_white(), channels)?, orientation)
}

/// Whether the header of a file says that it has no colour; `None` if the header can't be read.
pub(crate) fn is_grey(path: &Path) -> Option<bool> {
    let bytes = files::read(path).ok()?;
    let colored = guarded(|| match Kind::of(&bytes).ok()? {
        #[cfg(feature = "tiff")]
        Kind::Tiff => tiff::has_color(&bytes),
        kind => formats::has_color(&bytes, kind),
    });
    colored?.map(|colored| !colored)
}

#[cfg(test)]
mod tests;
