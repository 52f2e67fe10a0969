//! Images of one size held in memory as one array.

use crate::Result;
use crate::data::Source;
use crate::image::{ImageSize, Pixels};

/// Source of images of one size, held in memory as one array (N, height, width, channels).
pub struct PackedSource {
    /// Height and width of every image.
    pub size: ImageSize,
    /// Number of channels: 1 for grey, 3 for RGB.
    pub channels: usize,
    /// All images, (N, height, width, channels).
    pub data: Vec<u8>,
    /// Class of each image.
    pub labels: Vec<u32>,
    /// Name of each image.
    pub names: Vec<String>,
}

impl PackedSource {
    /// Creates an empty source, to be filled with [`PackedSource::push_file`].
    pub fn new(size: ImageSize, channels: usize) -> Self {
        Self { size, channels, data: Vec::new(), labels: Vec::new(), names: Vec::new() }
    }

    /// Returns the number of bytes per image.
    pub fn image_len(&self) -> usize {
        self.size.pixels() * self.channels
    }

    /// Appends the images of a file, named `file/00000` and so on.
    pub fn push_file(&mut self, file: &str, data: &[u8], labels: impl IntoIterator<Item = u32>) {
        let before = self.labels.len();
        self.data.extend_from_slice(data);
        self.labels.extend(labels);
        self.names.extend((0..self.labels.len() - before).map(|i| format!("{file}/{i:05}")));
        debug_assert_eq!(self.data.len(), self.labels.len() * self.image_len());
    }
}

impl Source for PackedSource {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn channels(&self) -> usize {
        self.channels
    }

    fn pixels(&self, i: usize) -> Result<Pixels> {
        let n = self.image_len();
        Ok(Pixels::new(self.size, self.channels, self.data[i * n..][..n].to_vec()))
    }

    fn label(&self, i: usize) -> Option<u32> {
        Some(self.labels[i])
    }

    fn name(&self, i: usize) -> String {
        self.names[i].clone()
    }

    fn in_memory(&self) -> bool {
        true
    }
}
