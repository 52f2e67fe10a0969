//! PNG files with text chunks that describe how the picture was made.
//!
//! ```
//! use igpt::formats::png;
//! use igpt::image::{ImageSize, Pixels};
//!
//! let grey = Pixels::new(ImageSize::square(2), 1, vec![0, 80, 160, 240]);
//! let bytes = png::encode(&grey, &png::TextChunks::new("four pixels").with("Seed", 7));
//! assert!(bytes.starts_with(b"\x89PNG"));
//! ```

use std::path::Path;

use crate::image::Pixels;
use crate::text::one_line;
use crate::{Result, files};

/// Text chunks of a PNG file: (keyword, text).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextChunks(Vec<(String, String)>);

impl TextChunks {
    /// Creates no text chunks, for pictures inside a page.
    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }

    /// Creates text chunks with the program's name and version, and `title`.
    pub fn new(title: &str) -> Self {
        Self(Vec::new()).with("Software", concat!("igpt ", env!("CARGO_PKG_VERSION"))).with("Title", title)
    }

    /// Adds a text chunk; control characters are escaped.
    ///
    /// Characters that PNG's `tEXt` can't hold become `?`.
    pub fn with(mut self, keyword: &str, text: impl std::fmt::Display) -> Self {
        let latin1 = |c: char| if (c as u32) < 256 && c != '\0' { c } else { '?' };
        self.0.push((keyword.into(), one_line(&text.to_string()).chars().map(latin1).collect()));
        self
    }

    /// Adds several text chunks.
    pub fn with_all(self, lines: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        lines.into_iter().fold(self, |text, (keyword, line)| text.with(keyword, line))
    }
}

/// Encodes an image as a PNG file, grey or RGB, and returns its bytes.
pub fn encode(image: &Pixels, text: &TextChunks) -> Vec<u8> {
    let mut bytes = Vec::new();
    let color = if image.channels == 1 { png::ColorType::Grayscale } else { png::ColorType::Rgb };
    let mut write = || -> Result<(), png::EncodingError> {
        let mut encoder = png::Encoder::new(&mut bytes, image.size.width as u32, image.size.height as u32);
        encoder.set_color(color);
        encoder.set_depth(png::BitDepth::Eight);
        for (keyword, text) in &text.0 {
            encoder.add_text_chunk(keyword.clone(), text.clone())?;
        }
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&image.data)?;
        writer.finish()
    };
    write().expect("memory takes all bytes, the sides are not zero and the texts are Latin-1");
    bytes
}

/// Writes an image as a PNG file to `path`; missing parent folders are created.
pub fn save(path: impl AsRef<Path>, image: &Pixels, text: &TextChunks) -> Result<()> {
    files::write(path.as_ref(), &encode(image, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageSize;

    #[test]
    fn pictures_and_their_text_read_back() {
        for channels in [1, 3] {
            let size = ImageSize { height: 5, width: 7 };
            let image = Pixels::new(size, channels, (0..35 * channels).map(|i| (i * 7 % 256) as u8).collect());
            let lines = [("Seed", "11".into()), ("Temperature", "0.5".into())];
            let text = TextChunks::new("Samples").with_all(lines).with("Model", "Modèle 🦀");
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("new/picture.png");
            save(&path, &image, &text).unwrap();
            let file = std::io::BufReader::new(std::fs::File::open(&path).unwrap());
            let mut reader = png::Decoder::new(file).read_info().unwrap();
            let mut data = vec![0; reader.output_buffer_size().unwrap()];
            reader.next_frame(&mut data).unwrap();
            assert_eq!(data, image.data);
            let found: Vec<(String, String)> = reader
                .info()
                .uncompressed_latin1_text
                .iter()
                .map(|chunk| (chunk.keyword.clone(), chunk.text.clone()))
                .collect();
            assert_eq!(found, text.0);
            for (keyword, text) in [("Seed", "11"), ("Temperature", "0.5"), ("Model", "Modèle ?")] {
                assert!(found.contains(&(keyword.into(), text.into())), "{keyword}: {found:?}");
            }
        }
    }
}
