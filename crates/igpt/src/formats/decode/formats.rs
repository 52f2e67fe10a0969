//! PNG, JPEG, WebP, GIF and BMP, by the decoders of the `image` crate.
//!
//! No decoder is asked for more memory than a header may claim.

use std::io::Cursor;

use image::codecs::{bmp::BmpDecoder, gif::GifDecoder, jpeg::JpegDecoder, png::PngDecoder, webp::WebPDecoder};
use image::metadata::Orientation;
use image::{ImageDecoder, Limits};

use super::kind::Kind;
use super::problem::{room, zeros};
use super::raw::{Alpha, Raw};
use super::{Limit, Problem, jpeg};
use crate::image::ImageSize;

/// Memory for what accompanies a picture: colour profiles, comments, tables.
const METADATA: u64 = 64 << 20;

/// Decodes a file of a format other than TIFF.
pub(super) fn decode(bytes: &[u8], kind: Kind, limit: &Limit) -> Result<(Raw, Orientation), Problem> {
    let header = if kind == Kind::Jpeg { Some(jpeg::check(bytes, limit)?) } else { None };
    let mut decoder = open(bytes, kind, limit)?;
    let (width, height) = decoder.dimensions();
    let size = ImageSize { height: height as usize, width: width as usize };
    if size.pixels() == 0 {
        return Err(Problem::damaged(format!("an image of {size} pixels")));
    }
    // An unreadable orientation is none.
    let orientation = match kind {
        Kind::WebP => webp_orientation(bytes),
        _ => decoder.orientation().unwrap_or(Orientation::NoTransforms),
    };
    let color = decoder.color_type();
    let mut data = zeros(decoder.total_bytes())?;
    room(scratch(kind, header.as_ref(), size.pixels() as u64))?;
    decoder.read_image_boxed(&mut data)?;
    let deep = match color.bytes_per_pixel() / color.channel_count() {
        1 => false,
        2 => true,
        _ => return Err(Problem::unsupported(format!("an image of the kind {color:?}"))),
    };
    let channels = if color.has_color() { 3 } else { 1 };
    let alpha = if color.has_alpha() { Alpha::Straight } else { Alpha::None };
    Ok((Raw { size, channels, alpha, deep, data }, orientation))
}

/// Whether the header says that the picture has colour.
pub(super) fn has_color(bytes: &[u8], kind: Kind) -> Option<bool> {
    Some(open(bytes, kind, &Limit::NONE).ok()?.color_type().has_color())
}

/// Opens the decoder of a file of at most `limit` pixels.
fn open<'a>(bytes: &'a [u8], kind: Kind, limit: &Limit) -> Result<Box<dyn ImageDecoder + 'a>, Problem> {
    let reader = Cursor::new(bytes);
    let decoder: Box<dyn ImageDecoder + 'a> = match kind {
        Kind::Png => {
            // Before the decoder reads colour profiles and comments.
            let side = |at: usize| bytes.get(at..at + 4).map_or(0, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
            let (width, height) = (side(16), side(20));
            limit.check(width, height)?;
            let bytes = u64::from(width).saturating_mul(u64::from(height)).saturating_mul(8).saturating_add(METADATA);
            Box::new(PngDecoder::with_limits(reader, at_most(bytes))?)
        }
        Kind::Jpeg => Box::new(JpegDecoder::new(reader)?),
        Kind::WebP => Box::new(WebPDecoder::new(reader)?),
        Kind::Gif => {
            let mut decoder = GifDecoder::new(reader)?;
            let (width, height) = decoder.dimensions();
            // The first frame may be another size than the whole.
            decoder.set_limits(at_most(u64::from(width) * u64::from(height) * 4 + METADATA))?;
            Box::new(decoder)
        }
        Kind::Bmp => Box::new(BmpDecoder::new(reader)?),
        Kind::Tiff => return Err(Problem::unsupported("a TIFF file, in a build without the feature `tiff`")),
    };
    let (width, height) = decoder.dimensions();
    limit.check(width, height)?;
    Ok(decoder)
}

fn at_most(bytes: u64) -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(bytes);
    limits
}

/// Approximate number of bytes that a decoder takes in addition to its result.
fn scratch(kind: Kind, jpeg: Option<&jpeg::Header>, pixels: u64) -> u64 {
    match (kind, jpeg) {
        // All coefficients, of 2 bytes.
        (Kind::Jpeg, Some(header)) if header.progressive => {
            let padded = u64::from(header.width + 32) * u64::from(header.height + 32);
            2 * padded * header.components as u64
        }
        // The canvas of an animation and its frame, or planes of brightness and colour.
        (Kind::WebP, _) => 8 * pixels,
        (Kind::Gif, _) => 4 * pixels,
        _ => 0,
    }
}

/// The orientation in a WebP file's Exif chunk. The decoder would believe whatever length a chunk claims.
fn webp_orientation(bytes: &[u8]) -> Orientation {
    let mut rest = bytes.get(12..).unwrap_or_default();
    while let Some((&[a, b, c, d, l0, l1, l2, l3], chunk)) = rest.split_first_chunk() {
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let Some(data) = chunk.get(..length) else { break };
        if [a, b, c, d] == *b"EXIF" {
            return Orientation::from_exif_chunk(data).unwrap_or(Orientation::NoTransforms);
        }
        rest = chunk.get(length + length % 2..).unwrap_or_default();
    }
    Orientation::NoTransforms
}
