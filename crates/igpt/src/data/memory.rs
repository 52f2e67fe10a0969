//! Data sets of images that a program holds in memory, or of a source of its own.

use std::sync::Arc;

use super::split;
use super::{Dataset, Images, Source};
use crate::image::Pixels;
use crate::{Error, Result};

/// A source of decoded images, called by their numbers.
struct Memory {
    images: Vec<Pixels>,
    labels: Option<Vec<u32>>,
    channels: usize,
}

impl Memory {
    /// Of `images`, with a class each if there are `labels`. They are grey if all are.
    ///
    /// # Errors
    /// When there are not as many labels as images.
    fn new(images: Vec<Pixels>, labels: Option<Vec<u32>>) -> Result<Self> {
        if let Some(labels) = labels.as_ref().filter(|labels| labels.len() != images.len()) {
            let (images, labels) = (images.len(), labels.len());
            return Err(Error::Mismatch(format!("{images} images, but {labels} labels: give one for each image")));
        }
        let channels = if images.iter().all(|image| image.channels == 1) { 1 } else { 3 };
        Ok(Self { images, labels, channels })
    }
}

impl Source for Memory {
    fn len(&self) -> usize {
        self.images.len()
    }

    fn channels(&self) -> usize {
        self.channels
    }

    fn pixels(&self, i: usize) -> Result<Pixels> {
        Ok(self.images[i].with_channels(self.channels).into_owned())
    }

    fn label(&self, i: usize) -> Option<u32> {
        self.labels.as_ref().map(|labels| labels[i])
    }

    fn name(&self, i: usize) -> String {
        format!("{i:05}")
    }

    fn in_memory(&self) -> bool {
        true
    }
}

impl Dataset {
    /// Images in memory, of any sizes, cut into training, validation and test images by 80, 10 and 10 %.
    ///
    /// # Errors
    /// When there are none.
    pub fn from_images(images: Vec<Pixels>) -> Result<Self> {
        Self::from_source(Arc::new(Memory::new(images, None)?), Vec::new())
    }

    /// Images in memory with a class each: `labels` are positions in `classes`. Cut as by [`Dataset::from_images`].
    ///
    /// # Errors
    /// When there are no images, not as many labels, or a label is no position in `classes`.
    pub fn from_labelled_images(images: Vec<Pixels>, labels: Vec<u32>, classes: Vec<String>) -> Result<Self> {
        Self::from_source(Arc::new(Memory::new(images, Some(labels))?), classes)
    }

    /// All images of a source of your own, cut as by [`Dataset::from_images`]; `classes` names those of its labels.
    ///
    /// # Errors
    /// When it has no images, or a label is no position in `classes`.
    pub fn from_source(source: Arc<dyn Source>, classes: Vec<String>) -> Result<Self> {
        if source.is_empty() {
            return Err(Error::Missing("a data set without images: give some".into()));
        }
        let label = |i: usize| source.label(i).filter(|label| *label as usize >= classes.len());
        if let Some((i, label)) = (0..source.len()).find_map(|i| Some((i, label(i)?))) {
            let count = classes.len();
            return Err(Error::Mismatch(format!(
                "image {i} has label {label}, but there are {count} classes: name them"
            )));
        }
        let groups: Vec<u32> = (0..source.len() as u32).collect();
        let parts = split::by_groups(&groups, 0);
        let mut dataset = Self::new("images in memory", classes, source, parts);
        dataset.has_parts = false;
        Ok(dataset)
    }
}

impl Images {
    /// Images in memory, of any sizes, in their order. They are grey if all are.
    pub fn from_pixels(images: Vec<Pixels>) -> Self {
        Self::all(Arc::new(Memory::new(images, None).expect("without labels their number is right")))
    }
}
