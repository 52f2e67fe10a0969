//! Labelled images of a data set's three splits, and their features layer by layer.

use std::collections::HashSet;

use crate::data::{DamagedImage, Dataset, Images, Split};
use crate::device::{Engine, Pooling};
use crate::evaluate::features;
use crate::palette::Quantizer;
use crate::ranks::Collective;
use crate::rng::{Purpose, Rng};
use crate::{Error, Result};

/// Labelled images of a data set, by split.
#[derive(Clone, Debug)]
pub struct LabelledDataset {
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Training images, to which classifiers are fitted.
    pub train: Images,
    /// Validation images, by which settings are chosen.
    pub validation: Images,
    /// Test images, whose accuracy is reported.
    pub test: Images,
    /// Number of images without a label, over all splits.
    pub unlabelled: usize,
}

impl LabelledDataset {
    /// Selects the labelled images of `dataset`, and of the training images only `images`, if that is given.
    ///
    /// The selected training images are one of each class, and then the first of an order shuffled by `seed`.
    ///
    /// # Errors
    /// When a split has no labelled images, when the training images show fewer than two classes, or when another split
    /// shows a class that they don't.
    pub fn of(dataset: &Dataset, images: Option<usize>, seed: u64) -> Result<Self> {
        let mut unlabelled = 0;
        let mut part = |split: Split| {
            let all = dataset.split(split)?;
            let labelled = all.pick((0..all.len()).filter(|&i| all.label(i).is_some()));
            unlabelled += all.len() - labelled.len();
            Ok(labelled)
        };
        let [mut train, validation, test] = [part(Split::Train)?, part(Split::Validation)?, part(Split::Test)?];
        let parts = || [("train", &train), ("validation", &validation), ("test", &test)];
        if parts().iter().all(|(_, images)| images.is_empty()) {
            return Err(Error::Invalid(format!(
                "the images of {} have no labels: a folder needs a sub-folder for each class",
                dataset.name
            )));
        }
        if let Some((name, _)) = parts().iter().find(|(_, images)| images.is_empty()) {
            return Err(Error::Mismatch(format!(
                "labels differ between the splits of {}: no image of {name} has one, but others do: label all three",
                dataset.name
            )));
        }
        if let Some(images) = images {
            let classes = shown(&train).len();
            if images < classes {
                return Err(Error::Invalid(format!(
                    "{images} training images can't show the {classes} classes of {}: ask for more",
                    dataset.name
                )));
            }
            train = of_every_class(&train, images, seed);
        }
        let class = |label: u32| dataset.classes.get(label as usize).cloned().unwrap_or_else(|| label.to_string());
        let shown = shown(&train);
        if let [only] = shown[..] {
            return Err(Error::Invalid(format!(
                "all training images of {} are of one class, {}: a probe needs two",
                dataset.name,
                class(only)
            )));
        }
        for (name, images) in [("validation", &validation), ("test", &test)] {
            if let Some(&label) = labels(images).iter().find(|label| shown.binary_search(label).is_err()) {
                return Err(Error::Mismatch(format!(
                    "class {} is in the {name} split of {} but not in train: add training images of it",
                    class(label),
                    dataset.name
                )));
            }
        }
        Ok(Self { classes: dataset.classes.clone(), train, validation, test, unlabelled })
    }
}

/// Indices of images in an order shuffled by `seed`.
fn shuffled(images: &Images, seed: u64) -> impl Iterator<Item = usize> {
    let mut drawn: Vec<_> =
        (0..images.len()).map(|i| (Rng::new(seed, Purpose::Probe, 0, i as u64).next_u32(), i)).collect();
    drawn.sort_unstable();
    drawn.into_iter().map(|(_, i)| i)
}

/// The first `n` images of an order shuffled by `seed`.
pub(crate) fn pick(images: &Images, n: usize, seed: u64) -> Images {
    images.pick(shuffled(images, seed).take(n))
}

/// Like [`pick`], but with the first image of every class before all others, so that rare classes are kept.
fn of_every_class(images: &Images, n: usize, seed: u64) -> Images {
    let mut seen = HashSet::new();
    let (first, rest): (Vec<_>, Vec<_>) =
        shuffled(images, seed).partition(|&i| images.label(i).is_some_and(|label| seen.insert(label)));
    images.pick(first.into_iter().chain(rest).take(n))
}

/// Classes of labelled images.
pub(super) fn labels(images: &Images) -> Vec<u32> {
    (0..images.len()).filter_map(|i| images.label(i)).collect()
}

/// Classes that images show, sorted.
fn shown(images: &Images) -> Vec<u32> {
    let mut shown = labels(images);
    shown.sort_unstable();
    shown.dedup();
    shown
}

/// Features and labels of one split's images.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LabelledSplit {
    /// Features of each requested layer, (n, n_embd).
    pub layers: Vec<Vec<f32>>,
    /// Pixels in the palette's colours, (n, T · channels) in [-1, 1]; empty unless requested.
    pub pixels: Vec<f32>,
    /// Class of each image.
    pub labels: Vec<u32>,
    /// Images that could not be decoded and are left out.
    pub damaged: Vec<DamagedImage>,
}

/// Runs labelled images through the engine once, divided among the ranks; every rank receives all features.
///
/// # Errors
/// As [`features`].
pub(crate) fn collect(
    ranks: &mut Collective,
    engine: &mut dyn Engine,
    images: &Images,
    quantizer: &Quantizer,
    layers: &[usize],
    with_pixels: bool,
    progress: &mut dyn FnMut(usize),
) -> Result<LabelledSplit> {
    let n_embd = engine.config().n_embd;
    let mut part = LabelledSplit {
        layers: vec![Vec::with_capacity(images.len() * n_embd); layers.len()],
        ..LabelledSplit::default()
    };
    let (colors, channels) = (quantizer.palette().colors(), quantizer.palette().channels());
    let mut take = |set: &crate::data::TokenSet, values: &[f32]| {
        for (i, values) in values.chunks_exact(layers.len() * n_embd).enumerate() {
            part.labels.extend(set.labels[i]);
            for (layer, values) in part.layers.iter_mut().zip(values.chunks_exact(n_embd)) {
                layer.extend_from_slice(values);
            }
            if with_pixels {
                part.pixels.extend(set.image(i).iter().flat_map(|&token| &colors[usize::from(token)][..channels]));
            }
        }
        Ok(())
    };
    part.damaged = features(ranks, engine, images, quantizer, (layers, Pooling::Mean), &mut take, progress)?;
    Ok(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_images_still_show_every_class() {
        let emoji = crate::data::open("emoji", &crate::data::OpenOptions::default()).unwrap();
        let train = emoji.split(Split::Train).unwrap();
        let all = shown(&train);
        for seed in 0..4 {
            let few = of_every_class(&train, 2 * all.len(), seed);
            assert_eq!((few.len(), shown(&few)), (2 * all.len(), all.clone()));
            assert_eq!(few.indices(), of_every_class(&train, 2 * all.len(), seed).indices());
        }
        assert_ne!(of_every_class(&train, 40, 0).indices(), of_every_class(&train, 40, 1).indices());
        assert_eq!(of_every_class(&train, train.len() + 5, 0).len(), train.len());
    }
}
