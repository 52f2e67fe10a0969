//! Surprise of images: a model's likelihood relative to that of a simple reference, so that busy images don't count
//! as odd.
//!
//! A plain likelihood ranks flat images as the likeliest and noise as the oddest, whatever the model was trained on.
//! The excess over a reference that knows only how complex an image is says more (Serrà et al. 2020, "Input
//! complexity and out-of-distribution detection with likelihood-based generative models").

use std::f64::consts::LN_2;
use std::ops::Range;

use serde::Serialize;

use super::NgramBaselines;
use super::likelihood::{check, expect_numbers};
use crate::Result;
use crate::data::TokenSet;
use crate::device::{Engine, expect_finite, name_suspect_weight};
use crate::formats::png::{self, TextChunks};
use crate::image::ImageSize;
use crate::palette::Quantizer;

/// Number of images per call of the engine, which splits them further as its memory requires.
const BATCH: usize = 64;

/// Reference whose likelihood is subtracted from the model's.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Reference<'a> {
    /// Context model, fitted to training images with the same palette.
    Context(&'a NgramBaselines),
    /// Size of the image as a PNG file, in the colours of this palette.
    Png(&'a Quantizer),
}

/// Surprise of one image: its likelihood under the model and under the reference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Surprise {
    /// Negative log-likelihood of the image under the model, in nats.
    pub nats: f64,
    /// Complexity of the image: the reference's nats.
    pub reference: f64,
}

impl Surprise {
    /// Returns the nats that the model needs in excess of the reference: the higher, the odder the image.
    pub fn excess(&self) -> f64 {
        self.nats - self.reference
    }
}

/// Returns the surprise of each image of `set`, in order; `progress` receives the number of images done.
///
/// # Errors
/// When the images' size or tokens do not fit the model, the engine fails, or an image's nats are not finite.
pub fn surprise(
    engine: &mut dyn Engine,
    set: &TokenSet,
    reference: Reference<'_>,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<Surprise>> {
    check(engine.config(), set)?;
    let references = match reference {
        Reference::Context(baselines) => baselines.context_nats(set),
        Reference::Png(quantizer) => (0..set.images()).map(|i| png_nats(quantizer, set.image(i), set.n_px)).collect(),
    };
    let mut found = Vec::with_capacity(set.images());
    for start in (0..set.images()).step_by(BATCH) {
        let images = start..(start + BATCH).min(set.images());
        let nats = engine.evaluate(&set.batch(images.clone()).without_labels())?.nats;
        expect_numbers(&nats, &set.names[images.clone()]).map_err(|error| name_suspect_weight(engine, error))?;
        found.extend(nats.into_iter().zip(&references[images]).map(|(nats, &reference)| Surprise { nats, reference }));
        progress(found.len());
    }
    Ok(found)
}

/// Size of an image as a PNG file in the colours of the palette, in nats.
pub fn png_nats(quantizer: &Quantizer, tokens: &[u16], n_px: ImageSize) -> f64 {
    let file = png::encode(&quantizer.pixels(tokens, n_px), &TextChunks::none());
    (8 * file.len()) as f64 * LN_2
}

/// Surprise maps of some images: the negative log-likelihood of each pixel in nats, (images, T).
///
/// # Errors
/// As [`surprise`].
pub fn surprise_maps(engine: &mut dyn Engine, set: &TokenSet, images: Range<usize>) -> Result<Vec<f32>> {
    check(engine.config(), set)?;
    let mut maps = vec![0.0; images.len() * set.n_px.pixels()];
    engine.pixel_nats(&set.batch(images.clone()).without_labels(), &mut maps)?;
    for (image, map) in images.zip(maps.chunks_exact(set.n_px.pixels())) {
        expect_finite(map, "the surprise at a pixel", || set.names[image].clone())
            .map_err(|error| name_suspect_weight(engine, error))?;
    }
    Ok(maps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{self, Precision};
    use crate::model::ModelConfig;
    use crate::palette::Palette;

    /// Flat images, and stripes of two colours.
    fn set(images: usize) -> TokenSet {
        let tokens = (0..images * 64).map(|i| if i / 64 % 2 == 0 { 3 } else { (i % 2 * 7) as u16 }).collect();
        TokenSet {
            tokens,
            n_px: ImageSize::square(8),
            labels: vec![None; images],
            names: vec![String::new(); images],
            damaged: Vec::new(),
        }
    }

    #[test]
    fn maps_sum_to_the_nats_and_the_reference_is_the_images_complexity() {
        let config = ModelConfig::new(ImageSize::square(8), 8, 16, 1, 2);
        let mut engine = device::init(&config, 0, &device::EngineOptions::new(Precision::F32)).unwrap();
        let set = set(70);
        let baselines = NgramBaselines::fit(&set, 8);
        let found = surprise(&mut *engine, &set, Reference::Context(&baselines), &mut |_| ()).unwrap();
        // A new network gives every colour the same probability.
        assert!(found.iter().all(|s| (s.nats - 64.0 * 8f64.ln()).abs() < 1e-3), "{:?}", found[0]);
        let maps = surprise_maps(&mut *engine, &set, 68..70).unwrap();
        let sum: f64 = maps[64..].iter().map(|&nats| f64::from(nats)).sum();
        assert!((sum - found[69].nats).abs() < 1e-3);
        let greys = (0..8).map(|i| [i as f32 / 4.0 - 1.0; 3]).collect();
        let quantizer = Quantizer::new(Palette::new(greys, 1).unwrap());
        let by_size = surprise(&mut *engine, &set, Reference::Png(&quantizer), &mut |_| ()).unwrap();
        assert!(by_size[0].reference < by_size[1].reference && by_size[0].excess() > by_size[1].excess());
    }

    #[test]
    fn images_of_another_size_are_refused() {
        let config = ModelConfig::new(ImageSize::square(9), 8, 16, 1, 2);
        let mut engine = device::init(&config, 0, &device::EngineOptions::new(Precision::F32)).unwrap();
        let baselines = NgramBaselines::fit(&set(2), 8);
        assert!(surprise(&mut *engine, &set(2), Reference::Context(&baselines), &mut |_| ()).is_err());
    }
}
