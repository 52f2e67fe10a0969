//! Decoding of TIFF files as other readers of pictures do.
//!
//! This covers grey, RGB, palettes, CMYK and YCbCr, opacity of both kinds, 1 to 16 bits and floating point.
//!
//! The `tiff` crate unpacks samples but refuses several kinds of them. It is therefore handed a file whose tag says that
//! samples are grey, and their meaning is applied here. Floating-point values from 0 to 1 become 0 to 255, integral ones
//! from 0 to 255 stay, anything else is refused. A file that can't be read correctly is reported as not supported.
//! Reading order: [`mod@directory`], this file, [`mod@samples`].

mod directory;
mod samples;

use std::io::Cursor;

use image::metadata::Orientation;
use tiff::TiffError;
use tiff::decoder::{Decoder, Limits};

use self::directory::Directory;
use self::samples::{Meaning, Samples};
use super::problem::{room, zeros};
use super::raw::{Alpha, Raw};
use super::{Limit, Problem, jpeg};
use crate::image::ImageSize;

/// Tags' numbers (TIFF 6.0, appendix A).
mod tag {
    pub(super) const WIDTH: u16 = 256;
    pub(super) const HEIGHT: u16 = 257;
    pub(super) const BITS: u16 = 258;
    pub(super) const COMPRESSION: u16 = 259;
    pub(super) const PHOTOMETRIC: u16 = 262;
    pub(super) const FILL_ORDER: u16 = 266;
    pub(super) const STRIP_OFFSETS: u16 = 273;
    pub(super) const ORIENTATION: u16 = 274;
    pub(super) const SAMPLES: u16 = 277;
    pub(super) const STRIP_BYTES: u16 = 279;
    pub(super) const PLANAR: u16 = 284;
    pub(super) const COLOR_MAP: u16 = 320;
    pub(super) const TILE_WIDTH: u16 = 322;
    pub(super) const TILE_HEIGHT: u16 = 323;
    pub(super) const TILE_OFFSETS: u16 = 324;
    pub(super) const TILE_BYTES: u16 = 325;
    pub(super) const INK_SET: u16 = 332;
    pub(super) const EXTRA_SAMPLES: u16 = 338;
    pub(super) const SAMPLE_FORMAT: u16 = 339;
    pub(super) const JPEG_TABLES: u16 = 347;
    pub(super) const YCBCR_COEFFICIENTS: u16 = 529;
    pub(super) const YCBCR_SUBSAMPLING: u16 = 530;
    pub(super) const REFERENCE_BLACK_WHITE: u16 = 532;
}

/// The compression by JPEG, of each strip or tile.
const JPEG: u64 = 7;
/// The compression by Lempel, Ziv and Welch.
const LZW: u64 = 5;

/// Decodes the first page.
pub(super) fn decode(bytes: &[u8], limit: &Limit) -> Result<(Raw, Orientation), Problem> {
    let directory = Directory::read(bytes)?;
    let side = |tag| directory.first(tag).and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    let (width, height) = (side(tag::WIDTH), side(tag::HEIGHT));
    limit.check(width, height)?;
    limit.check(side(tag::TILE_WIDTH), side(tag::TILE_HEIGHT))?;
    let size = ImageSize { height: height as usize, width: width as usize };
    if size.pixels() == 0 {
        return Err(Problem::damaged(format!("an image of {size} pixels")));
    }
    let (meaning, alpha) = meaning(&directory)?;
    if directory.first(tag::COMPRESSION) == Some(JPEG) {
        check_jpegs(bytes, &directory, limit)?;
    }

    let grey = directory.with(tag::PHOTOMETRIC, 1)?;
    let mut decoder = Decoder::new(Cursor::new(&grey)).map_err(problem)?;
    let layout = decoder.image_buffer_layout().map_err(problem)?;
    let count = directory.first(tag::SAMPLES).unwrap_or(1) as usize;
    let bits = directory.first(tag::BITS).unwrap_or(1) as usize;
    // A tag that is there twice may be read in two ways.
    let (stride, planes) = (layout.row_stride.map_or(0, usize::from), layout.planes);
    let row = size.width.checked_mul(if planes > 1 { 1 } else { count }).and_then(|row| row.checked_mul(bits));
    if decoder.dimensions().map_err(problem)? != (width, height)
        || (planes > 1 && planes != count)
        || row.map(|row| row.div_ceil(8)) != Some(stride)
        || stride.checked_mul(size.height).and_then(|plane| plane.checked_mul(planes)) != Some(layout.complete_len)
    {
        return Err(Problem::damaged("a damaged TIFF directory: copy or download it again"));
    }
    let mut data = zeros(layout.complete_len as u64)?;
    let mut limits = Limits::default();
    limits.intermediate_buffer_size = bytes.len();
    let mut decoder = decoder.with_limits(limits);
    // The crate calls some of these cut off that are whole.
    let is_doubtful = directory.first(tag::COMPRESSION) == Some(LZW) && has_partial_tiles(&directory);
    decoder.read_image_bytes(&mut data).map_err(|error| match is_doubtful {
        true => Problem::unsupported("a TIFF file of LZW tiles that reach over its edge"),
        false => problem(error),
    })?;

    let samples = Samples {
        size,
        data,
        stride,
        plane: if planes > 1 { layout.plane_stride.map_or(0, usize::from) } else { 0 },
        count,
        bits,
        float: directory.first(tag::SAMPLE_FORMAT) == Some(3),
    };
    let orientation = directory.first(tag::ORIENTATION).and_then(|n| Orientation::from_exif(n.min(255) as u8));
    Ok((samples.picture(meaning, alpha)?, orientation.unwrap_or(Orientation::NoTransforms)))
}

/// Whether the header says that the picture has colour.
pub(super) fn has_color(bytes: &[u8]) -> Option<bool> {
    Some(Directory::read(bytes).ok()?.first(tag::PHOTOMETRIC)? > 1)
}

/// What samples mean, and the place of the one that is the opacity, or the name of what isn't read.
fn meaning(directory: &Directory<'_>) -> Result<(Meaning, Option<(usize, Alpha)>), Problem> {
    let refused = |what: &str| Err(Problem::unsupported(format!("a TIFF file {what}")));
    let bits = directory.first(tag::BITS).unwrap_or(1);
    match directory.first(tag::SAMPLE_FORMAT).unwrap_or(1) {
        1 | 4 if bits <= 16 => {}
        3 if matches!(bits, 16 | 32 | 64) => {}
        1 => return refused(&format!("of whole numbers of {bits} bits")),
        2 => return refused("of whole numbers with a sign"),
        _ => return refused("of complex or unknown numbers"),
    }
    if directory.first(tag::FILL_ORDER).unwrap_or(1) != 1 {
        return refused("whose bytes begin with their last bit");
    }
    // The crate counts the tiles of later planes as rows below the first.
    let planes = directory.first(tag::PLANAR) == Some(2) && directory.first(tag::SAMPLES).unwrap_or(1) > 1;
    if planes && has_partial_tiles(directory) {
        return refused("of tiles with a plane for each sample");
    }
    let float = directory.first(tag::SAMPLE_FORMAT) == Some(3);
    let meaning = match directory.first(tag::PHOTOMETRIC) {
        Some(0) if float => return refused("of floating-point values where white is zero"),
        Some(0) => Meaning::Grey { inverted: true },
        Some(1) => Meaning::Grey { inverted: false },
        Some(2) => Meaning::Rgb,
        Some(3) if bits <= 8 && !float => {
            let map = directory.numbers(tag::COLOR_MAP).unwrap_or_default();
            if map.len() != 3 << bits {
                return Err(Problem::damaged("a TIFF file whose palette has not the length that its bits want"));
            }
            Meaning::palette(&map)
        }
        Some(5) if !float && directory.first(tag::INK_SET).unwrap_or(1) == 1 => Meaning::Cmyk,
        Some(6) if bits == 8 && !float => {
            let sampling = directory.numbers(tag::YCBCR_SUBSAMPLING).unwrap_or_else(|| vec![2, 2]);
            if directory.first(tag::COMPRESSION) != Some(JPEG) && sampling != [1, 1] {
                return refused("of YCbCr with fewer samples of colour and without JPEG");
            }
            // Those of ITU-R 601, and the whole range.
            let near = |values: Option<Vec<f64>>, expected: &[f64]| {
                values.is_none_or(|values| {
                    values.len() == expected.len() && values.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-3)
                })
            };
            if !near(directory.fractions(tag::YCBCR_COEFFICIENTS), &[0.299, 0.587, 0.114])
                || !near(directory.fractions(tag::REFERENCE_BLACK_WHITE), &[0.0, 255.0, 128.0, 255.0, 128.0, 255.0])
            {
                return refused("of YCbCr with coefficients of its own");
            }
            Meaning::YCbCr
        }
        Some(8..=10) => return refused("of CIE Lab colours"),
        Some(4) => return refused("that is a mask"),
        Some(32803 | 34892) => return refused("of a camera's raw data (DNG)"),
        Some(kind) => return refused(&format!("of colours of the kind {kind} with {bits} bits")),
        None => return refused("that doesn't say what its samples mean"),
    };
    let (colors, samples) = (meaning.samples(), directory.first(tag::SAMPLES).unwrap_or(1));
    let Some(extra) = (samples as usize).checked_sub(colors) else {
        return Err(Problem::damaged(format!("a TIFF file of {samples} samples a pixel, where {colors} are needed")));
    };
    let kinds = directory.numbers(tag::EXTRA_SAMPLES);
    let alpha = match &kinds {
        Some(kinds) => kinds.iter().take(extra).enumerate().find_map(|(i, kind)| match kind {
            1 => Some((colors + i, Alpha::Associated)),
            2 => Some((colors + i, Alpha::Straight)),
            _ => None,
        }),
        // A fourth sample that nothing is said of is opacity to other readers, too.
        None => (matches!(meaning, Meaning::Rgb) && extra == 1).then_some((3, Alpha::Straight)),
    };
    match meaning {
        Meaning::Grey { .. } if extra > 1 && alpha.is_none() => {
            refused(&format!("of {samples} bands, of which nothing says what they are"))
        }
        Meaning::Grey { .. } | Meaning::Rgb => Ok((meaning, alpha)),
        _ if extra > 0 => refused("of CMYK, YCbCr or a palette with further samples"),
        _ => Ok((meaning, None)),
    }
}

/// Whether there are tiles that reach over the picture's edge.
fn has_partial_tiles(directory: &Directory<'_>) -> bool {
    let partial = |side, tile| {
        let (side, tile) = (directory.first(side).unwrap_or(0), directory.first(tile).unwrap_or(0));
        tile > 0 && side % tile > 0
    };
    partial(tag::WIDTH, tag::TILE_WIDTH) || partial(tag::HEIGHT, tag::TILE_HEIGHT)
}

/// Refuses strips or tiles whose JPEG data are not whole.
fn check_jpegs(bytes: &[u8], directory: &Directory<'_>, limit: &Limit) -> Result<(), Problem> {
    let tables = directory.bytes(tag::JPEG_TABLES).unwrap_or_default();
    let strips = directory.numbers(tag::STRIP_OFFSETS).zip(directory.numbers(tag::STRIP_BYTES));
    let tiles = || directory.numbers(tag::TILE_OFFSETS).zip(directory.numbers(tag::TILE_BYTES));
    let (offsets, lengths) = strips.or_else(tiles).unwrap_or_default();
    for (&offset, &length) in offsets.iter().zip(&lengths) {
        let cut = || Problem::damaged("the TIFF data are cut off: copy or download it again");
        let range = offset as usize..(offset as usize).saturating_add(length as usize);
        let part = bytes.get(range).filter(|part| part.starts_with(&[0xff, 0xd8])).ok_or_else(cut)?;
        // The tables are a JPEG file of their own, without a picture.
        let shared = tables.len().checked_sub(2).map_or(&[0xff, 0xd8][..], |end| &tables[..end]);
        let mut whole = room((shared.len() + part.len()) as u64)?;
        whole.extend_from_slice(shared);
        whole.extend_from_slice(&part[2..]);
        jpeg::check(&whole, limit)?;
    }
    Ok(())
}

fn problem(error: TiffError) -> Problem {
    match error {
        TiffError::UnsupportedError(error) => Problem::unsupported(format!("a TIFF file: {error}")),
        TiffError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Problem::damaged("the TIFF data are cut off: copy or download it again")
        }
        TiffError::LimitsExceeded => Problem::damaged("the TIFF file claims more data than it has"),
        error => Problem::damaged(format!("a damaged TIFF file: {error}")),
    }
}

#[cfg(test)]
mod tests;
