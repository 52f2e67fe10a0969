//! Likelihood of images under a model, with every pixel scored, the first one too.

use std::f64::consts::LN_2;

use crate::data::{Masking, TokenSet};
use crate::device::{Engine, LossSum, expect_finite, name_suspect_weight};
use crate::model::{ModelConfig, Objective};
use crate::ranks::expect_same::expect_same_tokens;
use crate::ranks::{Collective, losses};
use crate::{Error, Result};

/// Number of images per call of the engine, which splits them further as its memory requires.
const BATCH: usize = 64;
/// Number of images decoded at once.
const DECODED: usize = 32;

/// Likelihood of some images under a model, in several units.
///
/// It is comparable only between models with the same palette: see [`crate::palette::Distortion`].
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[non_exhaustive]
#[doc(alias = "cross_entropy")]
#[doc(alias = "nll")]
#[doc(alias = "perplexity")]
pub struct Likelihood {
    /// Mean negative log-likelihood per token in nats: the loss.
    pub nats_per_token: f64,
    /// Mean negative log-likelihood per pixel in bits: `nats_per_token / ln 2`, since a token is a pixel.
    pub bits_per_pixel: f64,
    /// Bits per dim: `nats_per_token / (channels · ln 2)`, with one channel for a grey palette.
    pub bits_per_dim: f64,
    /// Mean negative log-likelihood per image, in nats.
    pub nats_per_image: f64,
    /// 95 % confidence interval of `nats_per_image` over images; `None` for a single image.
    ///
    /// It is the normal approximation of the mean (± 1.96 standard errors, sample variance).
    pub interval95: Option<[f64; 2]>,
    /// Number of images.
    pub images: usize,
}

impl Likelihood {
    /// Summarises the `nats` of each image of `n_ctx` tokens; `channels` are the palette's.
    ///
    /// # Errors
    /// When there are no images.
    pub fn of(nats: &[f64], n_ctx: usize, channels: usize) -> Result<Self> {
        if nats.is_empty() {
            return Err(Error::Invalid("there are no images to score: name another split".into()));
        }
        let images = nats.len() as f64;
        let mean = nats.iter().sum::<f64>() / images;
        let variance = nats.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (images - 1.0);
        let reach = 1.96 * (variance / images).sqrt();
        let loss = mean / n_ctx as f64;
        Ok(Self {
            nats_per_token: loss,
            bits_per_pixel: loss / LN_2,
            bits_per_dim: loss / (channels as f64 * LN_2),
            nats_per_image: mean,
            interval95: (nats.len() > 1).then_some([mean - reach, mean + reach]),
            images: nats.len(),
        })
    }
}

/// Returns the likelihood of `set`'s images under the model; `channels` are the palette's.
///
/// `progress` receives the number of images done. For a masked model, this is no likelihood of images but the loss of
/// its own objective. The masks are always the same, with as many masked positions as in training. `nats_per_token`
/// is then the mean over masked positions, and `nats_per_image` is that times the image's number of tokens.
///
/// With data parallelism, each rank calls this with the same images and scores its share of them. The bits are the
/// same on every rank and for any number of ranks. `progress` assumes that all ranks are as far as this one.
///
/// # Errors
/// When there are no images, their size or tokens do not fit the model, the engine fails, an image's nats are not
/// finite, or a rank is gone.
pub fn likelihood(
    ranks: &mut Collective,
    engine: &mut dyn Engine,
    set: &TokenSet,
    channels: usize,
    progress: &mut dyn FnMut(usize),
) -> Result<Likelihood> {
    check(engine.config(), set)?;
    expect_same_tokens(ranks, set)?;
    let share = ranks.shard(set.images());
    let mut nats = Vec::with_capacity(share.len());
    let (objective, mask_prob) = (engine.config().objective, engine.config().mask_prob);
    for start in share.clone().step_by(BATCH) {
        let end = (start + BATCH).min(share.end);
        let mut batch = set.batch(start..end).without_labels();
        if objective == Objective::Masked {
            batch = Masking::evaluation(mask_prob, 0).mask(batch, start as u64);
        }
        nats.extend(engine.evaluate(&batch)?.nats);
        progress(nats.len() * set.images() / share.len());
    }
    let nats = of_all(ranks, nats)?;
    expect_numbers(&nats, &set.names).map_err(|error| name_suspect_weight(engine, error))?;
    Likelihood::of(&nats, set.n_px.pixels(), channels)
}

/// Returns the [`likelihood`], computed pixel by pixel with the engine's decoder.
///
/// The result is the same up to rounding, unless the decoder uses another number format than the engine's products.
///
/// # Errors
/// As [`likelihood`].
pub fn likelihood_by_decoding(
    ranks: &mut Collective,
    engine: &dyn Engine,
    set: &TokenSet,
    channels: usize,
    progress: &mut dyn FnMut(usize),
) -> Result<Likelihood> {
    check(engine.config(), set)?;
    let n_vocab = engine.config().n_vocab;
    expect_same_tokens(ranks, set)?;
    let share = ranks.shard(set.images());
    let rows = DECODED.min(share.len().max(1));
    let mut decoder = engine.decoder(rows)?;
    let mut logits = vec![0.0; rows * n_vocab];
    let mut nats = Vec::with_capacity(share.len());
    for start in share.clone().step_by(rows) {
        let images: Vec<&[u16]> = (start..share.end.min(start + rows)).map(|i| set.image(i)).collect();
        for (row, logits) in (0..images.len()).zip(logits.chunks_exact_mut(n_vocab)) {
            decoder.start(row, &[], logits)?;
        }
        let mut sums = vec![0.0; images.len()];
        for t in 0..set.n_px.pixels() {
            for ((sum, image), logits) in sums.iter_mut().zip(&images).zip(logits.chunks_exact(n_vocab)) {
                *sum += surprise(logits, image[t]);
            }
            if t + 1 < set.n_px.pixels() {
                let inputs: Vec<_> = images.iter().enumerate().map(|(row, image)| (row, image[t])).collect();
                decoder.step(&inputs, &mut logits[..images.len() * n_vocab])?;
            }
        }
        nats.extend(sums);
        progress(nats.len() * set.images() / share.len());
    }
    let nats = of_all(ranks, nats)?;
    expect_numbers(&nats, &set.names).map_err(|error| name_suspect_weight(engine, error))?;
    Likelihood::of(&nats, set.n_px.pixels(), channels)
}

/// Refuses nats that are not finite; the message names the first of the images in `names`.
pub(super) fn expect_numbers(nats: &[f64], names: &[String]) -> Result<()> {
    let image = |(nats, name): (&f64, &String)| expect_finite(&[*nats], "the likelihood", || name.clone());
    nats.iter().zip(names).try_for_each(image)
}

/// Returns the nats of all ranks' images, in their order (all-gather).
fn of_all(ranks: &mut Collective, nats: Vec<f64>) -> Result<Vec<f64>> {
    let own = LossSum { nats, ..LossSum::default() };
    losses::gather(ranks, own, None).map(|(all, _)| all.nats)
}

/// Nats of `token` under the softmax of `logits`.
fn surprise(logits: &[f32], token: u16) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max) as f64;
    let sum: f64 = logits.iter().map(|&logit| (logit as f64 - max).exp()).sum();
    max + sum.ln() - logits[token as usize] as f64
}

/// Refuses images of another size or palette than the model's.
pub(super) fn check(config: &ModelConfig, set: &TokenSet) -> Result<()> {
    let (n_px, n_vocab) = (config.n_px, config.n_vocab);
    if set.n_px != n_px {
        return Err(Error::Mismatch(format!("the images are {}, but the model reads {n_px}", set.n_px)));
    }
    if let Some(token) = set.tokens.iter().find(|token| usize::from(**token) >= n_vocab) {
        return Err(Error::Mismatch(format!(
            "token {token} is not one of the model's {n_vocab} colours: use the palette the model was trained with"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{self, Precision};
    use crate::image::ImageSize;
    use crate::ranks::collective::tests::on_ranks;
    use crate::testing::random_weights;

    fn set(images: usize, tokens: impl Fn(usize) -> u16) -> TokenSet {
        let n_px = ImageSize { height: 8, width: 9 };
        TokenSet {
            tokens: (0..images * 72).map(tokens).collect(),
            n_px,
            labels: vec![None; images],
            names: vec![String::new(); images],
            damaged: Vec::new(),
        }
    }

    #[test]
    fn decoding_gives_the_likelihood_of_the_forward_pass() {
        let (config, weights) = network();
        let set = set(35, |i| (i * i % 7) as u16);
        let options = device::EngineOptions::new(Precision::F32);
        let mut engine = device::open(&config, &weights, &options).unwrap();
        let whole = likelihood(&mut Collective::solo(), &mut *engine, &set, 1, &mut |_| {}).unwrap();
        let decoded = likelihood_by_decoding(&mut Collective::solo(), &*engine, &set, 1, &mut |_| {}).unwrap();
        assert!((whole.nats_per_token - decoded.nats_per_token).abs() < 1e-5, "{whole:?} {decoded:?}");
        let engine = device::open(&config, &weights, &device::EngineOptions { int8: true, ..options }).unwrap();
        let int8 = likelihood_by_decoding(&mut Collective::solo(), &*engine, &set, 1, &mut |_| {}).unwrap();
        assert!(int8 != decoded, "8 bits are not used");
        // Every product of this random network adds about half a percent.
        assert!((whole.nats_per_token - int8.nats_per_token).abs() < 2e-2, "{whole:?} {int8:?}");
    }

    /// A random network that has something to say: the official initialisation starts the output matrix at zero.
    fn network() -> (ModelConfig, Vec<f32>) {
        let config = ModelConfig::new(ImageSize { height: 8, width: 9 }, 7, 32, 2, 2);
        let weights = random_weights(&config);
        (config, weights)
    }

    #[test]
    fn any_number_of_ranks_finds_the_same_likelihood() {
        let (config, weights) = network();
        let masked = ModelConfig { objective: Objective::Masked, ..config.clone() };
        let [f32, bf16] = [Precision::F32, Precision::Bf16].map(device::EngineOptions::new);
        let int8 = device::EngineOptions { int8: true, ..f32 };
        // More than a batch for each of two ranks, and an odd number; then fewer than there are ranks.
        for images in [139, 3] {
            let set = set(images, |i| (i * i % 7) as u16);
            for (config, options, decoded) in
                [(&config, f32, false), (&config, bf16, false), (&masked, f32, false), (&config, int8, true)]
            {
                let found = |size: usize| {
                    on_ranks(size, |mut ranks| {
                        let mut engine = device::open(config, &weights, &options).unwrap();
                        let found = match decoded {
                            true => likelihood_by_decoding(&mut ranks, &*engine, &set, 1, &mut |_| ()),
                            false => likelihood(&mut ranks, &mut *engine, &set, 1, &mut |_| ()),
                        };
                        ranks.close().unwrap();
                        found.unwrap()
                    })
                };
                let alone = &found(1)[0];
                for size in [2, 4] {
                    assert!(found(size).iter().all(|all| all == alone), "{size} ranks, {options:?}");
                }
            }
        }
    }

    #[test]
    fn units_and_interval_are_those_of_their_definitions() {
        let found = Likelihood::of(&[100.0, 110.0, 120.0], 10, 3).unwrap();
        assert_eq!((found.nats_per_image, found.nats_per_token, found.images), (110.0, 11.0, 3));
        assert!((found.bits_per_pixel - 11.0 / LN_2).abs() < 1e-12);
        assert!((found.bits_per_dim - 11.0 / LN_2 / 3.0).abs() < 1e-12);
        let reach = 1.96 * 10.0 / 3f64.sqrt();
        let [low, high] = found.interval95.unwrap();
        assert!((low - (110.0 - reach)).abs() < 1e-9 && (high - (110.0 + reach)).abs() < 1e-9);
        assert_eq!(Likelihood::of(&[5.0], 10, 1).unwrap().interval95, None);
        assert!(Likelihood::of(&[], 10, 1).is_err());
    }

    #[test]
    fn a_fresh_model_scores_every_pixel_as_uniform() {
        // The official initialisation has an output matrix of zeros.
        let config = ModelConfig::new(ImageSize { height: 8, width: 9 }, 5, 16, 1, 2);
        let mut engine = device::init(&config, 0, &device::EngineOptions::new(Precision::F32)).unwrap();
        let mut done = Vec::new();
        let set_of_70 = set(70, |i| (i % 5) as u16);
        let found =
            likelihood(&mut Collective::solo(), &mut *engine, &set_of_70, 3, &mut |images| done.push(images)).unwrap();
        assert!((found.nats_per_image - 72.0 * 5f64.ln()).abs() < 1e-3, "{found:?}");
        assert_eq!((found.images, done), (70, vec![64, 70]));
        let foreign = likelihood(&mut Collective::solo(), &mut *engine, &set(1, |i| i as u16 % 6), 3, &mut |_| {});
        assert!(foreign.unwrap_err().to_string().contains("5 colours"));
    }
}
