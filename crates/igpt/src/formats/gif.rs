//! Animated GIFs of images being drawn in raster order.
//!
//! ```
//! use igpt::formats::gif;
//! use igpt::image::ImageSize;
//!
//! let (size, colors) = (ImageSize::square(2), [[0; 3], [255; 3]]);
//! // One image of four tokens, drawn after its first pixel, enlarged eight times.
//! let bytes = gif::encode(&[vec![0, 1, 1, 0]], size, &colors, 1, 1, 8);
//! assert!(bytes.starts_with(b"GIF89a"));
//! ```

use std::collections::HashMap;
use std::path::Path;

use gif::{DisposalMethod, Encoder, Frame, Repeat};

use crate::files;
use crate::image::{CHECKER, GAP, GAP_GREY, ImageSize, checker};
use crate::{Error, Result};

/// Approximate number of frames of an animation.
const FRAMES: usize = 64;
/// Delays in hundredths of a second: between frames, and before the animation starts again.
const DELAY: u16 = 4;
const REST: u16 = 300;
/// Entries of the colour table that are not image colours: the gap, two greys of the checkerboard, "unchanged".
const GAP_INDEX: u8 = 0;
const CHECKER_INDEX: u8 = 1;
const SAME: u8 = 3;
const OWN: usize = 4;

/// Encodes an animated GIF in which all images are drawn at once, laid out like [`grid`](crate::image::grid()).
///
/// `images` are token sequences, (T), of `size`. The first frame shows the first `given` pixels of each. `colors` are
/// the palette's bytes by token. They are exact as long as the images use at most 252 of them; otherwise the rarest are
/// shown as their nearest neighbours. Panics without images, and if `columns` or `scale` is 0.
pub fn encode(
    images: &[Vec<u16>],
    size: ImageSize,
    colors: &[[u8; 3]],
    given: usize,
    columns: usize,
    scale: usize,
) -> Vec<u8> {
    assert!(!images.is_empty() && columns > 0 && scale > 0, "{} images, {columns} columns", images.len());
    let (table, index) = color_table(images, colors);
    let columns = columns.min(images.len());
    let pitch = (size.height * scale + GAP, size.width * scale + GAP);
    let height = images.len().div_ceil(columns) * pitch.0 - GAP;
    let width = columns * pitch.1 - GAP;

    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, width as u16, height as u16, &table).expect("memory takes all bytes");
    encoder.set_repeat(Repeat::Infinite).expect("memory takes all bytes");
    let n_ctx = size.pixels();
    let per_frame = (n_ctx - given.min(n_ctx)).div_ceil(FRAMES).max(1);
    let mut drawn = 0;
    let mut next = given.min(n_ctx);
    loop {
        let first = drawn == 0;
        let mut buffer = vec![if first { GAP_INDEX } else { SAME }; width * height];
        for (i, image) in images.iter().enumerate() {
            let corner = i / columns * pitch.0 * width + i % columns * pitch.1;
            let mut paint = |pixel: usize, value: u8| {
                let (y, x) = (pixel / size.width * scale, pixel % size.width * scale);
                for line in y..y + scale {
                    buffer[corner + line * width + x..][..scale].fill(value);
                }
            };
            if first {
                for pixel in next..n_ctx {
                    let grey = checker(pixel / size.width, pixel % size.width);
                    paint(pixel, CHECKER_INDEX + u8::from(grey != CHECKER[0]));
                }
            }
            for pixel in drawn..next {
                paint(pixel, index[&image[pixel]]);
            }
        }
        let frame = Frame {
            width: width as u16,
            height: height as u16,
            delay: if next == n_ctx { REST } else { DELAY },
            dispose: DisposalMethod::Keep,
            transparent: Some(SAME),
            buffer: buffer.into(),
            ..Frame::default()
        };
        encoder.write_frame(&frame).expect("memory takes all bytes");
        if next == n_ctx {
            break;
        }
        drawn = next;
        next = (next + per_frame).min(n_ctx);
    }
    drop(encoder);
    bytes
}

/// Checks that an animation is not larger than a GIF can be.
///
/// # Errors
/// When a side has more than 65,535 pixels.
pub fn expect_size(images: usize, size: ImageSize, columns: usize, scale: usize) -> Result<()> {
    let (columns, rows) = (columns.min(images), images.div_ceil(columns));
    let side = (columns * (size.width * scale + GAP)).max(rows * (size.height * scale + GAP)) - GAP;
    match u16::try_from(side) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::Invalid(format!(
            "an animation of {images} images would have a side of {side} pixels, but a GIF has at most 65535: draw fewer"
        ))),
    }
}

/// Writes an animated GIF to `path`; see [`encode`].
///
/// # Errors
/// Same as [`expect_size`], and when the file can't be written.
pub fn save(
    path: impl AsRef<Path>,
    images: &[Vec<u16>],
    size: ImageSize,
    colors: &[[u8; 3]],
    given: usize,
    columns: usize,
    scale: usize,
) -> Result<()> {
    expect_size(images.len(), size, columns, scale)?;
    files::write(path.as_ref(), &encode(images, size, colors, given, columns, scale))
}

/// Builds the file's colour table and the index of each used token in it.
fn color_table(images: &[Vec<u16>], colors: &[[u8; 3]]) -> (Vec<u8>, HashMap<u16, u8>) {
    let mut counts = vec![0usize; colors.len()];
    images.iter().flatten().for_each(|token| counts[*token as usize] += 1);
    let mut used: Vec<usize> = (0..colors.len()).filter(|token| counts[*token] > 0).collect();
    used.sort_by_key(|token| (std::cmp::Reverse(counts[*token]), *token));
    let mut table = vec![[GAP_GREY; 3], [CHECKER[0]; 3], [CHECKER[1]; 3], [0; 3]];
    let mut index = HashMap::new();
    for token in used {
        let color = colors[token];
        let distance =
            |other: &[u8; 3]| -> u32 { color.iter().zip(other).map(|(a, b)| (a.abs_diff(*b) as u32).pow(2)).sum() };
        let place = if table.len() < 256 {
            table.push(color);
            table.len() - 1
        } else {
            (OWN..256).min_by_key(|i| distance(&table[*i])).unwrap_or(OWN)
        };
        index.insert(token as u16, place as u8);
    }
    (table.concat(), index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Pixels, grid, mask_after};

    /// All frames of a GIF, composed, as RGB.
    fn frames(bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut options = gif::DecodeOptions::new();
        options.set_color_output(gif::ColorOutput::Indexed);
        let mut decoder = options.read_info(bytes).unwrap();
        let table = decoder.global_palette().unwrap().to_vec();
        let mut canvas = vec![0; decoder.width() as usize * decoder.height() as usize * 3];
        let mut frames = Vec::new();
        while let Some(frame) = decoder.read_next_frame().unwrap() {
            for (i, &entry) in frame.buffer.iter().enumerate() {
                if frame.transparent != Some(entry) {
                    canvas[i * 3..][..3].copy_from_slice(&table[entry as usize * 3..][..3]);
                }
            }
            frames.push(canvas.clone());
        }
        frames
    }

    fn picture(image: &[u16], size: ImageSize, colors: &[[u8; 3]]) -> Pixels {
        Pixels::new(size, 3, image.iter().flat_map(|token| colors[*token as usize]).collect())
    }

    #[test]
    fn the_first_frame_shows_what_was_given_and_the_last_is_the_grid() {
        let size = ImageSize { height: 8, width: 9 };
        let colors: Vec<[u8; 3]> = (0..60).map(|i| [i, 100 + i, 255 - i]).collect();
        let images: Vec<Vec<u16>> = (0..3u16).map(|k| (0..72).map(|t| (t * (k + 2) + k) % 60).collect()).collect();
        let frames = frames(&encode(&images, size, &colors, 30, 2, 3));
        // 42 pixels one at a time, after the first frame.
        assert_eq!(frames.len(), 43);
        let pictures: Vec<Pixels> = images.iter().map(|image| picture(image, size, &colors)).collect();
        let given: Vec<Pixels> = pictures.iter().map(|image| mask_after(image, 30)).collect();
        let later: Vec<Pixels> = pictures.iter().map(|image| mask_after(image, 35)).collect();
        assert_eq!(frames[0], grid(&given, 2, 3).data);
        assert_eq!(frames[5], grid(&later, 2, 3).data);
        assert_eq!(frames[42], grid(&pictures, 2, 3).data);
    }

    #[test]
    fn large_palettes_and_images_stay_within_the_formats_limits() {
        let size = ImageSize::square(32);
        let colors: Vec<[u8; 3]> = (0..512).map(|i| [(i / 2) as u8, 9, (i % 2 * 3) as u8]).collect();
        // Even colours are used twice as often as their odd neighbours.
        let images = vec![(0..1024).map(|t| if t < 512 { t } else { t % 256 * 2 }).collect::<Vec<u16>>()];
        let frames = frames(&encode(&images, size, &colors, 0, 1, 1));
        assert_eq!(frames.len(), 65);
        let exact = picture(&images[0], size, &colors).data;
        let off = frames[64].iter().zip(&exact).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(off <= 8, "{off}");
    }
}
