//! Images of one size held in memory as one array.

use crate::Result;
use crate::data::Source;
use crate::image::{ImageSize, Pixels};

/// A source of equally large images; `data` is (N, height, width, channels).
pub struct PackedSource {
    /// Height and width of every image.
    pub size: ImageSize,
    /// 1 or 3.
    pub channels: usize,
    /// All images one after the other.
    pub data: Vec<u8>,
    /// Classes, one per image.
    pub labels: Vec<u32>,
    /// Names, one per image.
    pub names: Vec<String>,
}

impl PackedSource {
    /// An empty source, to be filled with [`PackedSource::push_file`].
    pub fn new(size: ImageSize, channels: usize) -> Self {
        Self { size, channels, data: Vec::new(), labels: Vec::new(), names: Vec::new() }
    }

    /// Bytes of one image.
    pub fn image_len(&self) -> usize {
        self.size.pixels() * self.channels
    }

    /// Appends a file's images, named `file/00000` and so on.
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
