//! Features of images, computed in runs of images, so that memory does not grow with their number.

use std::fmt;
use std::str::FromStr;

use crate::data::{DamagedImage, Images, TokenSet, check_damaged, tokenize_unchecked};
use crate::device::{Engine, Pooling, expect_finite, name_suspect_weight};
use crate::palette::Quantizer;
use crate::ranks::Collective;
use crate::ranks::expect_same::expect_same_tokens;
use crate::{Error, Result};

/// Number of images per run and rank, unless their features are very long.
const RUN: usize = 64;
/// Largest number of values in a run, unless a single image per rank has more.
const VALUES: usize = 1 << 24;

/// Layers to take features from: `all`, or numbers separated by commas.
///
/// Layer l of 0 to n_layer - 1 is `ln_1` of what enters block l; layer n_layer is the output of `ln_f`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layers {
    /// All layers, 0 to n_layer.
    #[default]
    All,
    /// The given layers, in this order.
    Only(Vec<usize>),
}

impl From<usize> for Layers {
    fn from(layer: usize) -> Self {
        Layers::Only(vec![layer])
    }
}

impl From<Vec<usize>> for Layers {
    fn from(layers: Vec<usize>) -> Self {
        Layers::Only(layers)
    }
}

impl Layers {
    /// Returns the numbers of the chosen layers in a network of `n_layer` blocks.
    ///
    /// # Errors
    /// When none is chosen, or the network does not have one of them.
    pub fn of(&self, n_layer: usize) -> Result<Vec<usize>> {
        match self {
            Layers::All => Ok((0..=n_layer).collect()),
            Layers::Only(layers) if layers.is_empty() => {
                Err(Error::Invalid("no layer was asked for: `layers` names none".into()))
            }
            Layers::Only(layers) => match layers.iter().find(|&&layer| layer > n_layer) {
                Some(layer) => {
                    Err(Error::Invalid(format!("layer {layer} was asked for, but the model has 0 to {n_layer}")))
                }
                None => Ok(layers.clone()),
            },
        }
    }
}

impl FromStr for Layers {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "all" {
            return Ok(Layers::All);
        }
        let layers = text.split(',').map(|layer| layer.trim().parse()).collect::<Result<Vec<usize>, _>>();
        let mut layers = layers.map_err(|_| Error::Invalid(format!("no layers {text:?}: say all, or 0,3,5")))?;
        let mut seen = std::collections::BTreeSet::new();
        layers.retain(|layer| seen.insert(*layer));
        Ok(Layers::Only(layers))
    }
}

impl fmt::Display for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Layers::All => f.write_str("all"),
            Layers::Only(layers) => f.write_str(&layers.iter().map(usize::to_string).collect::<Vec<_>>().join(",")),
        }
    }
}

/// Computes features of `images` in runs and passes each run to `take`, in order.
///
/// The features are (images, layers, n_embd) or, without pooling, (images, layers, T, n_embd); one forward pass
/// serves all `layers`. `progress` receives the number of images done. Returns the images that could not be decoded,
/// which are in no run.
///
/// With data parallelism, each rank calls this with the same images. The ranks split every run for the forward pass,
/// and `take` receives the whole run on every rank. The bits are the same for any number of ranks.
///
/// # Errors
/// When more than 1 % of the images are damaged, they do not fit the model, a feature is not finite, `take` fails, or
/// a rank is gone.
pub fn features(
    ranks: &mut Collective,
    engine: &mut dyn Engine,
    images: &Images,
    quantizer: &Quantizer,
    (layers, pooling): (&[usize], Pooling),
    take: &mut dyn FnMut(&TokenSet, &[f32]) -> Result<()>,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<DamagedImage>> {
    each_run(ranks, engine, images, quantizer, (layers, pooling, true), take, progress)
}

/// Computes features as [`features()`], however many images are damaged.
///
/// This is for new pictures that are judged one by one.
///
/// # Errors
/// As [`features()`], except for damaged images.
pub fn features_of_whole(
    ranks: &mut Collective,
    engine: &mut dyn Engine,
    images: &Images,
    quantizer: &Quantizer,
    (layers, pooling): (&[usize], Pooling),
    take: &mut dyn FnMut(&TokenSet, &[f32]) -> Result<()>,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<DamagedImage>> {
    each_run(ranks, engine, images, quantizer, (layers, pooling, false), take, progress)
}

fn each_run(
    ranks: &mut Collective,
    engine: &mut dyn Engine,
    images: &Images,
    quantizer: &Quantizer,
    (layers, pooling, refuses_damage): (&[usize], Pooling, bool),
    take: &mut dyn FnMut(&TokenSet, &[f32]) -> Result<()>,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<DamagedImage>> {
    let config = engine.config().clone();
    if quantizer.palette().n_vocab() != config.n_vocab {
        let (colors, n_vocab) = (quantizer.palette().n_vocab(), config.n_vocab);
        return Err(Error::Mismatch(format!("a palette of {colors} colours was given to a model of {n_vocab}")));
    }
    let values = layers.len() * pooling.rows(config.n_ctx()) * config.n_embd;
    let run = (VALUES / values.max(1)).clamp(ranks.size(), RUN * ranks.size());
    let mut out = vec![0.0; run * values];
    let mut damaged = Vec::new();
    for first in (0..images.len()).step_by(run) {
        let end = (first + run).min(images.len());
        let mut set = tokenize_unchecked(&images.pick(first..end), config.n_px, quantizer)?;
        damaged.append(&mut set.damaged);
        if refuses_damage {
            check_damaged(&damaged, images.len())?;
        }
        let out = &mut out[..set.images() * values];
        expect_same_tokens(ranks, &set)?;
        let share = ranks.shard(set.images());
        let own = &mut out[share.start * values..share.end * values];
        if !share.is_empty() {
            engine.features(&set.batch(share), layers, pooling, own)?;
        }
        if ranks.size() > 1 {
            let all = ranks.gather(bytemuck::cast_slice(own))?.concat();
            bytemuck::cast_slice_mut(out).copy_from_slice(&all);
        }
        for (name, values) in set.names.iter().zip(out.chunks_exact(values)) {
            expect_finite(values, "a feature", || name.clone()).map_err(|error| name_suspect_weight(engine, error))?;
        }
        take(&set, out)?;
        progress(end);
    }
    Ok(damaged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{self, Precision};
    use crate::image::ImageSize;
    use crate::model::ModelConfig;
    use crate::ranks::collective::tests::on_ranks;

    #[test]
    fn any_number_of_ranks_finds_the_same_features_in_the_same_order() {
        let emoji = crate::data::open("emoji", &crate::data::OpenOptions::default()).unwrap();
        // More than a run for each of two ranks, and an odd number; then fewer than there are ranks.
        for (count, pooling) in [(139, Pooling::Mean), (139, Pooling::None), (3, Pooling::Last)] {
            let images = emoji.split(crate::data::Split::Test).unwrap().spread(count);
            let palette = crate::model::ModelDir::bundled().unwrap().palette;
            let config = ModelConfig::new(ImageSize::square(8), palette.n_vocab(), 16, 2, 2);
            let found = |size: usize| {
                on_ranks(size, |mut ranks| {
                    let options = device::EngineOptions { threads: 1, ..device::EngineOptions::new(Precision::F32) };
                    let mut engine = device::init(&config, 0, &options).unwrap();
                    let quantizer = Quantizer::new(palette.clone());
                    let (mut names, mut values) = (Vec::new(), Vec::new());
                    let mut take = |set: &TokenSet, features: &[f32]| {
                        names.extend(set.names.clone());
                        values.extend(features.iter().map(|value| value.to_bits()));
                        Ok(())
                    };
                    let layers = (&[2, 0][..], pooling);
                    features(&mut ranks, &mut *engine, &images, &quantizer, layers, &mut take, &mut |_| ()).unwrap();
                    ranks.close().unwrap();
                    (names, values)
                })
            };
            let alone = &found(1)[0];
            assert_eq!(alone.0.len(), count);
            for size in [2, 4] {
                assert!(found(size).iter().all(|all| all == alone), "{size} ranks, {count} images, {pooling:?}");
            }
        }
    }

    #[test]
    fn layers_read_what_they_print_and_are_checked_against_the_model() {
        for text in ["all", "0,3,5", "7"] {
            assert_eq!(text.parse::<Layers>().unwrap().to_string(), text);
        }
        assert_eq!("3, 1,3".parse::<Layers>().unwrap().of(3).unwrap(), [3, 1]);
        assert_eq!(Layers::All.of(2).unwrap(), [0, 1, 2]);
        let error = "2,4".parse::<Layers>().unwrap().of(3).unwrap_err().to_string();
        assert!(error.contains("layer 4") && error.contains("0 to 3"), "{error}");
        assert!("best".parse::<Layers>().is_err() && "".parse::<Layers>().is_err());
    }
}
