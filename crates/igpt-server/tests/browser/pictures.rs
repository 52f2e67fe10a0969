//! Image files that are given to the page, or that it gives.

use std::fs::File;
use std::path::{Path, PathBuf};

/// Writes a PNG of smooth colours, another one for each `i`.
pub(super) fn write(folder: &Path, name: &str, i: usize) -> PathBuf {
    let (width, height) = (40, 30);
    let color = |at: usize| [at % width * 6, at / width * 8, (at / 5 + 90 * i) % 256].map(|value| value as u8);
    let path = folder.join(name);
    let mut encoder = png::Encoder::new(File::create(&path).unwrap(), width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    let data: Vec<u8> = (0..width * height).flat_map(color).collect();
    encoder.write_header().unwrap().write_image_data(&data).unwrap();
    path
}

/// Whether the browser has saved a file: it holds the name by an empty one until the download is whole.
pub(super) fn kept(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.len() > 0)
}

/// Width and height of a PNG, and its pixels as `#rrggbb`.
pub(super) fn read(path: &Path) -> (usize, usize, Vec<String>) {
    let mut reader = png::Decoder::new(std::io::BufReader::new(File::open(path).unwrap())).read_info().unwrap();
    let mut data = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut data).unwrap();
    let color = |pixel: &[u8]| format!("#{:02x}{:02x}{:02x}", pixel[0], pixel[1], pixel[2]);
    let pixels = data.chunks_exact(info.color_type.samples()).map(color).collect();
    (info.width as usize, info.height as usize, pixels)
}
