//! Data sets of images in memory or from a custom source.

use std::sync::Arc;

use super::split;
use super::{Dataset, Images, Source};
use crate::image::Pixels;
use crate::{Error, Result};

/// A source of decoded images, named by their numbers.
struct Memory {
    images: Vec<Pixels>,
    labels: Option<Vec<u32>>,
    channels: usize,
}

impl Memory {
    /// Creates a source of `images`, each with a class if there are `labels`; it is grey if all images are.
    ///
    /// # Errors
    /// When the numbers of labels and images differ.
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
    /// Creates a data set from images in memory.
    ///
    /// The images may have any size. They are split into train, validation and test by 80, 10 and 10 %, drawn by a fixed
    /// seed. The name of an image is its position in `images`, such as `00027`.
    ///
    /// # Errors
    /// When there are no images.
    pub fn from_images(images: Vec<Pixels>) -> Result<Self> {
        Self::from_source(Arc::new(Memory::new(images, None)?), Vec::new())
    }

    /// Creates a data set from images in memory with labels, split like [`Dataset::from_images`].
    ///
    /// `labels` are indices into `classes`.
    ///
    /// # Errors
    /// When there are no images, the numbers of labels and images differ, or a label is not an index into `classes`.
    pub fn from_labelled_images(images: Vec<Pixels>, labels: Vec<u32>, classes: Vec<String>) -> Result<Self> {
        Self::from_source(Arc::new(Memory::new(images, Some(labels))?), classes)
    }

    /// Creates a data set from all images of a custom source, split like [`Dataset::from_images`].
    ///
    /// `classes` are the names of the source's labels.
    ///
    /// # Errors
    /// When the source has no images, or a label is not an index into `classes`.
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
    /// Wraps images in memory, of any size, in their order; they are grey if all are.
    pub fn from_pixels(images: Vec<Pixels>) -> Self {
        Self::all(Arc::new(Memory::new(images, None).expect("without labels their number is right")))
    }
}
