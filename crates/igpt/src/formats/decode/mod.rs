//! One image file to pixels: PNG, JPEG, WebP, GIF (its first frame), BMP and TIFF (its first page).
//!
//! The format is told by the contents, not the name. Exif orientation is applied, transparency laid on white, 16 bits
//! rounded to 8. A file that is cut off or otherwise damaged is refused, and so is one of more pixels than Pillow
//! reads, which `IGPT_MAX_IMAGE_PIXELS` changes; a kind that is not read is named as such.
//!
//! Reading order: `guard`, `kind`, `limit`, `formats` with `jpeg`, `tiff`, `raw`.

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

/// Endings of file names that are taken for images.
pub const EXTENSIONS: [&str; 12] =
    ["png", "jpg", "jpeg", "jpe", "jfif", "pjpeg", "pjp", "webp", "gif", "bmp", "tif", "tiff"];

/// Decodes the file at `path` to `channels` (1 or 3).
///
/// # Errors
/// When it can't be read, is of none of the formats, is cut off or otherwise damaged, has too many pixels, or, then
/// beginning with [`NOT_SUPPORTED`], is of a kind that is not read.
pub fn read(path: &Path, channels: usize) -> Result<Pixels> {
    let bytes = files::read(path)?;
    Limit::of_files()
        .and_then(|limit| decode(&bytes, channels, &limit))
        .map_err(|problem| Error::format(path, problem.to_string()))
}

/// Decodes a file's bytes from somewhere that is not trusted: an image of more than `most` pixels, whatever it would
/// have taken to decode it, is refused by its header.
///
/// # Errors
/// As [`read`].
pub fn from_bytes(bytes: &[u8], channels: usize, most: usize) -> Result<Pixels> {
    Limit::of_files()
        .and_then(|limit| decode(bytes, channels, &limit.or(most as u64)))
        .map_err(|problem| Error::Invalid(format!("the image can't be read: {problem}")))
}

/// The image, or what is wrong with it. A decoder that panics has met damage that it did not expect.
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

/// Whether the file says in its header that it has no colour; none when the header can't be read.
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
