//! One image file to pixels: PNG, JPEG, WebP, GIF (its first frame), BMP and TIFF.
//!
//! The format is told by the contents, not the name. Exif orientation is applied, transparency laid on white, 16 bits
//! rounded to 8.

use std::io::Cursor;
use std::path::Path;

use image::{ColorType, DynamicImage, ImageDecoder, ImageReader};

use super::Pixels;
use super::pixels::over_white;
use crate::{Error, Result, files, model::ImageSize};

/// Endings of file names that are taken for images.
pub const EXTENSIONS: [&str; 8] = ["png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff"];

/// Decodes the file at `path` to `channels` (1 or 3).
///
/// # Errors
/// When it can't be read, is of none of the formats, or is cut off or otherwise damaged.
pub fn read(path: &Path, channels: usize) -> Result<Pixels> {
    let bytes = files::read(path)?;
    decode(&bytes, channels, usize::MAX).map_err(|problem| Error::format(path, problem))
}

/// Decodes a file's bytes from somewhere that is not trusted: an image of more than `most` pixels, whatever it would
/// have taken to decode it, is refused by its header.
///
/// # Errors
/// As [`read`].
pub fn from_bytes(bytes: &[u8], channels: usize, most: usize) -> Result<Pixels> {
    decode(bytes, channels, most).map_err(|problem| Error::Invalid(format!("the image can't be read: {problem}")))
}

/// The image, or what is wrong with it.
fn decode(bytes: &[u8], channels: usize, most: usize) -> Result<Pixels, String> {
    if bytes.starts_with(&[0xff, 0xd8]) && !jpeg_is_whole(bytes) {
        return Err("the JPEG data are cut off".into());
    }
    let mut decoder = decoder(bytes).map_err(|e| e.to_string())?;
    let (width, height) = decoder.dimensions();
    if width as u64 * height as u64 > most as u64 {
        return Err(format!("it has {width}×{height} pixels, but at most {most} are allowed: shrink it"));
    }
    // An unreadable orientation is none.
    let orientation = decoder.orientation().unwrap_or(image::metadata::Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(|e| e.to_string())?;
    image.apply_orientation(orientation);
    let size = ImageSize { height: image.height() as usize, width: image.width() as usize };
    if size.pixels() == 0 {
        return Err(format!("an image of {size} pixels"));
    }
    let pixels = match (image.color().has_alpha(), image.color().has_color()) {
        (false, false) => Pixels::new(size, 1, image.into_luma8().into_raw()),
        (false, true) => Pixels::new(size, 3, image.into_rgb8().into_raw()),
        (true, false) => {
            let data = image.into_luma_alpha8().into_raw();
            Pixels::new(size, 1, data.chunks_exact(2).map(|p| over_white(p[0], p[1])).collect())
        }
        (true, true) => {
            let data = image.into_rgba8().into_raw();
            let mixed = data.chunks_exact(4).flat_map(|p| [0, 1, 2].map(|c| over_white(p[c], p[3])));
            Pixels::new(size, 3, mixed.collect())
        }
    };
    Ok(pixels.with_channels(channels).into_owned())
}

/// Whether the file says in its header that it has no colour; none when the header can't be read.
pub(super) fn is_grey(path: &Path) -> Option<bool> {
    let reader = ImageReader::open(path).ok()?.with_guessed_format().ok()?;
    let color: ColorType = reader.into_decoder().ok()?.color_type();
    Some(!color.has_color())
}

fn decoder(bytes: &[u8]) -> image::ImageResult<impl ImageDecoder + '_> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(image::ImageError::IoError)?;
    reader.into_decoder()
}

/// Whether a JPEG file goes on to its end-of-image marker. The decoder fills what is missing with grey and says
/// nothing, which would teach a model grey areas.
fn jpeg_is_whole(bytes: &[u8]) -> bool {
    let mut at = 2;
    loop {
        // A marker is 0xff, any number of times, and a code; in picture data 0xff 0x00 is a value and 0xd0 to 0xd7
        // are restarts.
        let Some(skip) = bytes.get(at..).and_then(|rest| rest.iter().position(|&b| b == 0xff)) else { return false };
        at += skip;
        while bytes.get(at) == Some(&0xff) {
            at += 1;
        }
        match bytes.get(at) {
            None => return false,
            Some(0xd9) => return true,
            Some(0x00 | 0x01 | 0xd0..=0xd8) => at += 1,
            Some(_) => {
                let Some(length) = bytes.get(at + 1..at + 3) else { return false };
                at += 1 + u16::from_be_bytes([length[0], length[1]]) as usize;
            }
        }
    }
}

#[cfg(test)]
mod tests;
