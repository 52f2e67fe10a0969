use std::io::Cursor;
use std::path::PathBuf;

use image::{DynamicImage, ExtendedColorType, ImageEncoder, ImageFormat, RgbImage, RgbaImage};

use super::*;
use crate::image::ImageSize;

/// 16×12, the left third red, the rest blue, so that turns show.
fn picture() -> RgbImage {
    RgbImage::from_fn(16, 12, |x, _| image::Rgb(if x < 5 { [200, 20, 10] } else { [10, 20, 200] }))
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn jpeg(exif: Option<u8>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 95);
    if let Some(orientation) = exif {
        encoder.set_exif_metadata(orientation_tag(orientation)).unwrap();
    }
    encoder.write_image(picture().as_raw(), 16, 12, ExtendedColorType::Rgb8).unwrap();
    bytes
}

/// A little-endian Exif block that holds the orientation alone.
fn orientation_tag(orientation: u8) -> Vec<u8> {
    let mut block = b"II*\0\x08\0\0\0\x01\0".to_vec();
    block.extend([0x12, 0x01, 3, 0, 1, 0, 0, 0, orientation, 0, 0, 0, 0, 0, 0, 0]);
    block
}

#[test]
fn every_format_is_read_whatever_the_name() {
    let dir = tempfile::tempdir().unwrap();
    let rgb = DynamicImage::ImageRgb8(picture());
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::Gif] {
        let image = if format == ImageFormat::Gif { rgb.to_rgba8().into() } else { rgb.clone() };
        let path = write(dir.path(), "picture.png", &encoded(&image, format));
        let pixels = read(&path, 3).unwrap();
        assert_eq!(pixels.size, ImageSize { height: 12, width: 16 }, "{format:?}");
        let far = pixels.data.iter().zip(picture().as_raw()).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(far <= Some(if format == ImageFormat::Gif { 8 } else { 0 }), "{format:?} off by {far:?}");
    }
    let pixels = read(&write(dir.path(), "picture.png", &jpeg(None)), 3).unwrap();
    assert!(pixels.data[0] > 180 && pixels.data[15 * 3] < 40);
}

#[test]
fn exif_orientation_turns_the_picture() {
    let dir = tempfile::tempdir().unwrap();
    // Where red is in each orientation: (height, width, row, column).
    for (orientation, height, width, y, x) in
        [(1, 12, 16, 6, 1), (2, 12, 16, 6, 14), (3, 12, 16, 6, 14), (6, 16, 12, 1, 6), (8, 16, 12, 14, 6)]
    {
        let pixels = read(&write(dir.path(), "a.jpg", &jpeg(Some(orientation))), 3).unwrap();
        assert_eq!(pixels.size, ImageSize { height, width }, "orientation {orientation}");
        let at = (y * width + x) * 3;
        assert!(pixels.data[at] > 150 && pixels.data[at + 2] < 80, "orientation {orientation}");
    }
}

#[test]
fn alpha_is_laid_on_white_and_sixteen_bits_become_eight() {
    let dir = tempfile::tempdir().unwrap();
    let alpha = RgbaImage::from_raw(3, 1, vec![9, 9, 9, 0, 0, 100, 200, 128, 1, 2, 3, 255]).unwrap();
    let path = write(dir.path(), "a.png", &encoded(&alpha.into(), ImageFormat::Png));
    assert_eq!(read(&path, 3).unwrap().data, [255, 255, 255, 127, 177, 227, 1, 2, 3]);

    let deep = image::ImageBuffer::<image::Luma<u16>, _>::from_raw(3, 1, vec![0u16, 257 * 90, 65535]).unwrap();
    let path = write(dir.path(), "b.png", &encoded(&DynamicImage::ImageLuma16(deep), ImageFormat::Png));
    assert_eq!(read(&path, 1).unwrap().data, [0, 90, 255]);
    assert_eq!(read(&path, 3).unwrap().data, [0, 0, 0, 90, 90, 90, 255, 255, 255]);
    assert_eq!(is_grey(&path), Some(true));

    let deep = image::ImageBuffer::<image::Rgb<u16>, _>::from_raw(1, 1, vec![257u16 * 7, 257 * 8, 257 * 9]).unwrap();
    let path = write(dir.path(), "c.png", &encoded(&DynamicImage::ImageRgb16(deep), ImageFormat::Png));
    assert_eq!(read(&path, 3).unwrap().data, [7, 8, 9]);
    assert_eq!(is_grey(&path), Some(false));
}

#[test]
fn damaged_files_are_errors_that_name_them() {
    let dir = tempfile::tempdir().unwrap();
    let png = encoded(&picture().into(), ImageFormat::Png);
    let whole = jpeg(None);
    let mut cases = vec![
        ("text.png", b"not an image at all".to_vec()),
        ("empty.png", Vec::new()),
        ("cut.png", png[..png.len() * 2 / 3].to_vec()),
    ];
    // However much of a JPEG is missing.
    cases.extend((1..20).map(|k| ("cut.jpg", whole[..whole.len() * k / 20].to_vec())));
    for (name, bytes) in cases {
        let error = read(&write(dir.path(), name, &bytes), 3).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
    let mut padded = whole.clone();
    padded.extend([0; 100]);
    assert!(read(&write(dir.path(), "padded.jpg", &padded), 3).is_ok());
    assert!(read(&dir.path().join("gone.png"), 3).unwrap_err().to_string().contains("gone.png"));
}

#[test]
fn grey_jpegs_count_as_grey() {
    let dir = tempfile::tempdir().unwrap();
    let grey = DynamicImage::ImageLuma8(DynamicImage::ImageRgb8(picture()).to_luma8());
    let path = write(dir.path(), "a.jpg", &encoded(&grey, ImageFormat::Jpeg));
    assert_eq!(read(&path, 1).unwrap().channels, 1);
    assert_eq!(is_grey(&path), Some(true));
}

#[test]
fn what_is_no_image_is_named_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 9\n", "0a".repeat(32));
    for (bytes, words) in [
        (&b""[..], "empty"),
        (pointer.as_bytes(), "run git lfs pull"),
        (b"<!DOCTYPE html><html><body>404", "web page"),
        (b"404: not found\n", "text, not an image"),
        (&[0; 300], "nothing but zeros"),
        (b"PK\x03\x04\x14\0\0\0", "unpack"),
        (b"\x89PNG\n\x1a\n\0\0\0\rIHDR", "copied as text"),
        (b"\x01\x02\x80\x90", "none of the formats"),
    ] {
        let error = read(&write(dir.path(), "a.png", bytes), 3).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("a.png") && !error.contains(NOT_SUPPORTED), "{error}");
    }
    for (bytes, name) in [
        (&b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf"[..], "AVIF"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
        (b"<?xml version=\"1.0\"?>\n<svg width=\"8\">", "SVG"),
        (b"8BPS\0\x01", "PSD"),
        (b"P6\n1 1\n255\nabc", "Netpbm"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    ] {
        let error = read(&write(dir.path(), "a.png", bytes), 3).unwrap_err().to_string();
        assert!(
            error.contains(NOT_SUPPORTED) && error.contains(name) && error.contains("convert it to PNG"),
            "{error}"
        );
    }
}

/// Headers that claim 65,535×65,535 pixels and bring none, one of each format.
fn claims() -> Vec<(&'static str, Vec<u8>)> {
    let one = DynamicImage::ImageRgb8(RgbImage::new(1, 1));
    let patched = |format, at: usize, sides: [&[u8]; 2]| {
        let image = if format == ImageFormat::Gif { one.to_rgba8().into() } else { one.clone() };
        let mut bytes = encoded(&image, format);
        bytes[at..at + sides[0].len()].copy_from_slice(sides[0]);
        bytes[at + sides[0].len()..at + 2 * sides[0].len()].copy_from_slice(sides[1]);
        bytes
    };
    let mut png = patched(ImageFormat::Png, 16, [&[0, 0, 0xff, 0xff]; 2]);
    let mut crc = flate2::Crc::new();
    crc.update(&png[12..29]);
    png[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    let mut jpeg = jpeg(None);
    let frame = jpeg.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 9].fill(0xff);
    let mut tiff = b"II*\0\x08\0\0\0\x02\0".to_vec();
    for tag in [0u16, 1] {
        tiff.extend((256 + tag).to_le_bytes());
        tiff.extend([4, 0, 1, 0, 0, 0, 0xff, 0xff, 0, 0]);
    }
    tiff.extend([0; 4]);
    vec![
        ("a.png", png),
        ("a.jpg", jpeg),
        ("a.gif", patched(ImageFormat::Gif, 6, [&[0xff, 0xff]; 2])),
        ("a.bmp", patched(ImageFormat::Bmp, 18, [&[0xff, 0xff, 0, 0]; 2])),
        ("a.tif", tiff),
    ]
}

#[test]
fn more_pixels_than_allowed_are_refused_by_the_header() {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in claims() {
        let error = read(&write(dir.path(), name, &bytes), 3).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("65535×65535") && error.contains("178956970"), "{error}");
        let error = from_bytes(&bytes, 3, 100).unwrap_err().to_string();
        assert!(error.contains("at most 100 ") && !error.contains("IGPT_"), "{error}");
    }
    assert!(from_bytes(&jpeg(None), 3, 191).is_err() && from_bytes(&jpeg(None), 3, 192).is_ok());
}

#[test]
fn endings_of_jpegs_are_all_known() {
    for ending in ["jpg", "jpeg", "jpe", "jfif", "pjpeg", "pjp"] {
        assert!(EXTENSIONS.contains(&ending), "{ending}");
    }
}

#[test]
fn whatever_the_bytes_decoding_ends_with_a_picture_or_a_problem() {
    let rgb = DynamicImage::ImageRgb8(picture());
    let mut files = vec![jpeg(Some(6))];
    for format in [ImageFormat::Png, ImageFormat::WebP, ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::Gif] {
        files.push(encoded(&if format == ImageFormat::Gif { rgb.to_rgba8().into() } else { rgb.clone() }, format));
    }
    let mut rng = crate::rng::Rng::new(1, crate::rng::Purpose::Sample, 0, 0);
    for whole in files {
        for _ in 0..400 {
            let mut bytes = whole.clone();
            for _ in 0..1 + rng.below(6) {
                // Headers more often than the rest.
                let most = if rng.below(2) == 0 { bytes.len().min(64) } else { bytes.len() };
                let at = rng.below(most as u64) as usize;
                bytes[at] = [0, 0xff, rng.below(256) as u8][rng.below(3) as usize];
            }
            let _ = from_bytes(&bytes, 3, 1 << 20);
        }
    }
}

#[test]
fn a_file_on_which_the_decoder_panics_is_damaged() {
    // Of scripts/fuzz.py --seed 1 --case images:1000: a palette whose pixels need more bytes than its rows have.
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/damaged/palette.png");
    let message = read(&path, 3).unwrap_err().to_string();
    assert!(message.contains("palette.png") && !message.contains(NOT_SUPPORTED), "{message}");
}
