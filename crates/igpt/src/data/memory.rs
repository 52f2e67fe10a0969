//! Data sets of images in memory or from a custom source.

use std::sync::Arc;

use super::split::{self, Split};
use super::{Dataset, Images, Source};
use crate::checksum::sha256_of;
use crate::image::Pixels;
use crate::{Error, Result};

/// Name of a data set that no `--data` can open again.
pub(crate) const IN_MEMORY: &str = "images in memory";

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

    fn checksum(&self, i: usize) -> Option<u64> {
        let Pixels { size, channels, data } = &self.images[i];
        let shape = [size.height, size.width, *channels].map(|side| (side as u64).to_le_bytes()).concat();
        let hash = sha256_of(&[&shape, data]);
        Some(u64::from_le_bytes(hash[..8].try_into().expect("eight bytes")))
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
            return Err(Error::Invalid("a data set without images: give some".into()));
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
        let mut dataset = Self::new(IN_MEMORY, classes, source, parts);
        dataset.has_parts = false;
        Ok(dataset)
    }

    /// Divides the images anew: `parts` are the indices of the training, validation and test images.
    ///
    /// ```
    /// use igpt::data::Dataset;
    /// use igpt::image::{ImageSize, Pixels};
    ///
    /// # fn main() -> igpt::Result<()> {
    /// let images = (0..5).map(|i| Pixels::new(ImageSize::square(8), 1, vec![i * 50; 64])).collect();
    /// let dataset = Dataset::from_images(images)?.with_parts([vec![0, 1, 2], vec![3, 4], vec![]])?;
    /// assert_eq!((dataset.train.len(), dataset.validation.len(), dataset.test.len()), (3, 2, 0));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When there are no training images, an index is out of range, or an image is in several parts.
    pub fn with_parts(self, parts: [Vec<u32>; 3]) -> Result<Self> {
        let all = self.split(Split::All)?;
        let count = all.len();
        if parts[0].is_empty() {
            return Err(Error::Invalid("no images are left for training: give it one or more".into()));
        }
        let mut is_taken = vec![false; count];
        for i in parts.iter().flatten() {
            match is_taken.get_mut(*i as usize) {
                None => return Err(Error::Invalid(format!("image {i} of {count}: give indices below {count}"))),
                Some(true) => {
                    return Err(Error::Invalid(format!("image {i} is in several parts: each belongs to one")));
                }
                Some(taken) => *taken = true,
            }
        }
        let mut dataset = self;
        [dataset.train, dataset.validation, dataset.test] =
            parts.map(|part| all.pick(part.into_iter().map(|i| i as usize)));
        dataset.has_parts = true;
        Ok(dataset)
    }
}

impl Images {
    /// Wraps images in memory, of any size, in their order; they are grey if all are.
    pub fn from_pixels(images: Vec<Pixels>) -> Self {
        Self::all(Arc::new(Memory::new(images, None).expect("without labels their number is right")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageSize;

    fn images(count: u8) -> Dataset {
        Dataset::from_images((0..count).map(|i| Pixels::new(ImageSize::square(1), 1, vec![i])).collect()).unwrap()
    }

    #[test]
    fn parts_that_are_given_are_the_parts() {
        let dataset = images(6).with_parts([vec![5, 0], vec![2], vec![]]).unwrap();
        assert_eq!((&*dataset.train.indices(), &*dataset.validation.indices()), (&[5, 0][..], &[2][..]));
        assert!(dataset.split(Split::Test).is_err() && dataset.has_parts);
        assert_eq!(dataset.split(Split::All).unwrap().len(), 6);
    }

    #[test]
    fn parts_that_overlap_or_leave_the_images_are_refused() {
        for (parts, named) in [
            ([vec![], vec![1], vec![]], "training"),
            ([vec![0], vec![6], vec![]], "image 6"),
            ([vec![0, 3], vec![2], vec![3]], "image 3"),
        ] {
            let error = images(6).with_parts(parts).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn the_first_images_are_for_training_then_for_validation_then_for_tests() {
        let parts = |count| {
            let set = images(count);
            [set.train.len(), set.validation.len(), set.test.len()]
        };
        assert_eq!([1, 2, 3, 9, 10].map(parts), [[1, 0, 0], [1, 1, 0], [1, 1, 1], [7, 1, 1], [8, 1, 1]]);
    }
}
