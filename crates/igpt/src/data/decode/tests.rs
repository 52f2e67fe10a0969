use std::path::PathBuf;

use image::{ExtendedColorType, ImageEncoder, ImageFormat, RgbImage, RgbaImage};

use super::*;

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
fn grey_and_progressive_jpegs_count_as_whole() {
    let dir = tempfile::tempdir().unwrap();
    let grey = DynamicImage::ImageLuma8(DynamicImage::ImageRgb8(picture()).to_luma8());
    let path = write(dir.path(), "a.jpg", &encoded(&grey, ImageFormat::Jpeg));
    assert_eq!(read(&path, 1).unwrap().channels, 1);
    assert_eq!(is_grey(&path), Some(true));
    // Several scans with table segments between them, a restart marker, a stuffed 0xff and fill bytes.
    let segment = |code: u8| [0xff, code, 0, 4, 0xff, 0xd9];
    let mut stream = vec![0xff, 0xd8];
    stream.extend(segment(0xe1));
    stream.extend(segment(0xda));
    stream.extend([1, 0xff, 0, 2, 0xff, 0xd3, 5]);
    stream.extend(segment(0xc4));
    stream.extend(segment(0xda));
    stream.extend([7, 8, 0xff, 0xff]);
    assert!(!jpeg_is_whole(&stream));
    stream.push(0xd9);
    assert!(jpeg_is_whole(&stream));
}
