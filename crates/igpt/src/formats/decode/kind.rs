//! Kinds of files by their contents, whatever their names: a supported format, or something else.

use super::Problem;
use crate::formats::lfs::is_lfs_pointer;

/// A supported image format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Png,
    Jpeg,
    WebP,
    Gif,
    Bmp,
    Tiff,
}

impl Kind {
    /// Determines the format of a file's bytes, or what they are instead and what to do about it.
    pub(super) fn of(bytes: &[u8]) -> Result<Self, Problem> {
        match bytes {
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Ok(Self::Png),
            [0xff, 0xd8, ..] => Ok(Self::Jpeg),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Ok(Self::WebP),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Ok(Self::Gif),
            [b'B', b'M', ..] => Ok(Self::Bmp),
            [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Ok(Self::Tiff),
            _ => Err(other(bytes)),
        }
    }
}

/// Returns what a file is that has none of the supported formats.
fn other(bytes: &[u8]) -> Problem {
    if bytes.is_empty() {
        return Problem::damaged("the file is empty: copy or download it again");
    }
    if is_lfs_pointer(bytes) {
        return Problem::damaged("this is a Git LFS pointer, not the image: run git lfs pull");
    }
    if let Some(name) = foreign(bytes) {
        return Problem::unsupported(name);
    }
    if bytes.iter().all(|&byte| byte == 0) {
        return Problem::damaged("the file holds nothing but zeros: copy or download it again");
    }
    if bytes.starts_with(b"\x89PNG") {
        return Problem::damaged("a PNG file that was copied as text, which changed its line ends: copy it as it is");
    }
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(&[0x1f, 0x8b]) {
        return Problem::damaged("this is an archive, not an image: unpack it");
    }
    match text(bytes) {
        Some(start) if start.contains("<svg") => Problem::unsupported("an SVG drawing"),
        Some(start) if start.contains("<!doctype html") || start.contains("<html") || start.contains("<head") => {
            Problem::damaged("this is a web page (HTML), not an image: download the image itself")
        }
        Some(_) => Problem::damaged("this is text, not an image: copy or download it again"),
        None => Problem::damaged("this is of none of the formats that are read: PNG, JPEG, WebP, GIF, BMP and TIFF"),
    }
}

/// Names images and other files of unsupported formats.
fn foreign(bytes: &[u8]) -> Option<&'static str> {
    if bytes.get(4..8) == Some(b"ftyp") {
        // The major brand and those that it is compatible with.
        let end = bytes.get(..4).map_or(0, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]) as usize);
        let brands = bytes.get(8..end.clamp(12, 128).min(bytes.len())).unwrap_or_default();
        let any = |names: &[&[u8]]| brands.chunks_exact(4).any(|brand| names.contains(&brand));
        return Some(match () {
            () if any(&[b"avif", b"avis"]) => "an AVIF image",
            () if any(&[b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"]) => "an HEIC image",
            () if any(&[b"crx "]) => "a camera's raw file (CR3)",
            () => "a video (MP4 or its like)",
        });
    }
    const STARTS: [(&[u8], &str); 18] = [
        (b"8BPS", "a Photoshop file (PSD)"),
        (b"\0\0\0\x0cJXL ", "a JPEG XL image"),
        (b"\xff\x0a", "a JPEG XL image"),
        (b"\0\0\0\x0cjP  ", "a JPEG 2000 image"),
        (b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
        (b"\0\0\x01\0", "an icon (ICO)"),
        (b"\0\0\x02\0", "a cursor (CUR)"),
        (b"\x76\x2f\x31\x01", "an OpenEXR image"),
        (b"#?RADIANCE", "a Radiance HDR image"),
        (b"#?RGBE", "a Radiance HDR image"),
        (b"DDS ", "a DirectDraw surface (DDS)"),
        (b"qoif", "a QOI image"),
        (b"farbfeld", "a farbfeld image"),
        (b"%PDF", "a PDF document"),
        (b"%!PS", "a PostScript document"),
        (b"\x93NUMPY", "a NumPy array"),
        (b"II\x52\x4f", "a camera's raw file (ORF)"),
        (b"IIU\0", "a camera's raw file (RW2)"),
    ];
    if let Some((_, name)) = STARTS.iter().find(|(start, _)| bytes.starts_with(start)) {
        return Some(name);
    }
    matches!(bytes, [b'P', b'1'..=b'7', b' ' | b'\n' | b'\r' | b'\t', ..]).then_some("a Netpbm image (PBM, PGM, PPM)")
}

/// Returns the first letters of a file, in lower case, if it is text.
fn text(bytes: &[u8]) -> Option<String> {
    let start = &bytes[..bytes.len().min(1024)];
    // A letter of several bytes may be cut at the end.
    let valid = start.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let control = |c: char| c.is_control() && !c.is_whitespace();
    (valid.len() + 4 > start.len() && !valid.contains(control)).then(|| valid.to_ascii_lowercase())
}
