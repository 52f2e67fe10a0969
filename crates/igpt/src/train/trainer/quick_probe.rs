//! Quick probe during a run: how well features of the middle layers predict the classes, at each validation.
//!
//! Ridge classifiers are fitted to four fifths of some training images. Layer and strength are those with the highest
//! accuracy on the last fifth. The accuracy is then measured on validation images, which choose nothing. The probe
//! reads the weights and changes none, so a run yields the same model with it or without.

use crate::data::{self, Dataset, Split, TokenSet};
use crate::device::{Engine, Pooling};
use crate::image::ImageSize;
use crate::palette::Quantizer;
use crate::probe::labelled::pick;
use crate::probe::ridge::choose_and_measure;
use crate::probe::{LabelledFeatures, Workers};
use crate::{Error, Result};

/// Images per forward pass of the engine.
const RUN: usize = 64;

/// Quick probe of the middle layers during pretraining, with its labelled images.
#[derive(Debug)]
pub struct QuickProbe {
    train: TokenSet,
    measured: TokenSet,
    layers: Vec<usize>,
    workers: Workers,
}

/// Result of a quick probe during training.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct LayerProbeResult {
    /// Accuracy on the validation images.
    pub accuracy: f64,
    /// Layer with the highest accuracy on held-out training images.
    pub layer: usize,
}

impl QuickProbe {
    /// Takes `images` labelled training images in an order shuffled by `seed`, and half as many validation images.
    ///
    /// # Errors
    /// When there are too few labelled images, or all of one class.
    pub fn of(
        dataset: &Dataset,
        images: usize,
        n_layer: usize,
        n_px: ImageSize,
        quantizer: &Quantizer,
        (seed, threads): (u64, usize),
    ) -> Result<Self> {
        let tokens = |split: Split, images: usize| {
            let all = dataset.split(split)?;
            let labelled = all.pick((0..all.len()).filter(|&i| all.label(i).is_some()));
            data::tokenize(&pick(&labelled, images, seed), n_px, quantizer)
        };
        let (train, measured) = (tokens(Split::Train, images)?, tokens(Split::Validation, images.div_ceil(2))?);
        let several = train.labels.iter().any(|label| *label != train.labels[0]);
        if train.images() < 5 || measured.images() == 0 || !several {
            return Err(Error::Invalid(format!(
                "{} shows no two classes in {} labelled training images and {} of validation",
                dataset.name,
                train.images(),
                measured.images()
            )));
        }
        let mut layers = vec![n_layer / 3, n_layer.div_ceil(2), (2 * n_layer).div_ceil(3)];
        layers.dedup();
        Ok(Self { train, measured, layers, workers: Workers::new(threads) })
    }

    /// Cost of a probe, in whole forward passes of one image; it passes through two thirds of the network.
    pub fn passes(&self) -> f64 {
        (self.train.images() + self.measured.images()) as f64 * 2.0 / 3.0
    }

    /// Probes the engine's present weights.
    ///
    /// # Errors
    /// When the features are not finite.
    pub fn run(&self, engine: &mut dyn Engine) -> Result<LayerProbeResult> {
        let [train, measured] = [&self.train, &self.measured].map(|set| self.features(engine, set));
        let (train, measured) = (train?, measured?);
        let labels = |set: &TokenSet| set.labels.iter().flatten().copied().collect::<Vec<u32>>();
        let (of_train, of_measured) = (labels(&self.train), labels(&self.measured));
        let width = engine.config().n_embd;
        let apart = self.train.images() * 4 / 5;
        let mut best: Option<(f64, LayerProbeResult)> = None;
        for ((train, measured), &layer) in train.iter().zip(&measured).zip(&self.layers) {
            let (train, held_out) = LabelledFeatures::new(train, width, &of_train)?.split_at(apart)?;
            let measured = LabelledFeatures::new(measured, width, &of_measured)?;
            let (chosen, found) = choose_and_measure(&self.workers, train, held_out, measured)?;
            if best.is_none_or(|(highest, _)| chosen > highest) {
                best = Some((chosen, LayerProbeResult { accuracy: found.accuracy, layer }));
            }
        }
        best.map(|(_, probed)| probed).ok_or_else(|| Error::Invalid("there is no layer to probe".into()))
    }

    /// Features of each layer, (images, n_embd).
    fn features(&self, engine: &mut dyn Engine, set: &TokenSet) -> Result<Vec<Vec<f32>>> {
        let (count, width) = (self.layers.len(), engine.config().n_embd);
        let mut layers = vec![Vec::with_capacity(set.images() * width); count];
        let mut values = vec![0.0; RUN * count * width];
        for first in (0..set.images()).step_by(RUN) {
            let end = (first + RUN).min(set.images());
            let values = &mut values[..(end - first) * count * width];
            engine.features(&set.batch(first..end), &self.layers, Pooling::Mean, values)?;
            for (i, row) in values.chunks_exact(width).enumerate() {
                layers[i % count].extend_from_slice(row);
            }
        }
        Ok(layers)
    }
}
