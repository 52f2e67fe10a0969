//! Pictures of a run: drawn now, drawn during training, and the images that it finds odd.

use std::path::Path;

use crate::data::{Images, TokenSet, tokenize};
use crate::device::Engine;
use crate::evaluate::{Surprise, surprise_maps};
use crate::generate::{SamplingSettings, complete, sample};
use crate::image::{Pixels, heat, mask_after};
use crate::palette::Quantizer;
use crate::report::page::{Completion, ImageWithMap};
use crate::train::RunDir;
use crate::{Result, files};

use super::settings::ReportProgress;

/// Number of unconditional samples: fills rows of 6 and of 8.
const SAMPLES: usize = 48;
/// Number of images completed; below, the number of completions of each.
const COMPLETED: usize = 12;
const ATTEMPTS: usize = 4;
/// Number of sample grids over time.
const SHEETS: usize = 6;
/// Number of odd images shown.
const ODD: usize = 12;

/// Pictures that a model draws: samples and completions.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ModelPictures {
    /// Settings of sampling.
    pub settings: SamplingSettings,
    /// Unconditional samples, as token sequences.
    pub samples: Vec<Vec<u16>>,
    /// Completions of test images.
    ///
    /// The images are spread evenly, so that variants of one picture don't crowd out others.
    pub completions: Vec<Completion>,
    /// Number of given rows in each completion.
    pub rows: usize,
}

impl ModelPictures {
    pub(super) fn draw(
        engine: &dyn Engine,
        quantizer: &Quantizer,
        test: &Images,
        seed: u64,
        progress: ReportProgress<'_>,
    ) -> Result<Self> {
        let settings = SamplingSettings { seed, ..SamplingSettings::default() };
        let samples = sample(engine, SAMPLES, 0, &settings, 0, &mut |done, total| progress("drawing", done, total))?;
        let size = engine.config().n_px;
        let tokens = tokenize(&test.spread(COMPLETED), size, quantizer)?;
        let rows = size.height / 2;
        let given = rows * size.width;
        let starts: Vec<&[u16]> = (0..tokens.images()).map(|i| &tokens.image(i)[..given]).collect();
        let mut told = |done, total| progress("completing", done, total);
        let drawn = complete(engine, &starts, 0, ATTEMPTS, &settings, 0, &mut told)?;
        let show = |tokens: &[u16]| quantizer.pixels(tokens, size);
        let completion = |(i, drawn): (usize, &Vec<Vec<u16>>)| {
            let original = show(tokens.image(i));
            Completion {
                name: tokens.names[i].clone(),
                input: mask_after(&original, given),
                completions: drawn.iter().map(|tokens| show(tokens)).collect(),
                original,
            }
        };
        let completions = drawn.iter().enumerate().map(completion).collect();
        Ok(Self { settings, samples, completions, rows })
    }
}

/// Sample grids drawn during training, as (step, file), spread evenly over those that exist.
pub(super) fn over_time(run: &Path) -> Result<Vec<(u64, Vec<u8>)>> {
    let files = RunDir::detached(run).pictures("step-");
    let (n, last) = (files.len().min(SHEETS), files.len().saturating_sub(1));
    // The first and the last are always among them.
    let chosen = (0..n).map(|i| &files[if n > 1 { i * last / (n - 1) } else { last }]);
    chosen.map(|(step, path)| Ok((*step, files::read(path)?))).collect()
}

/// The oddest images beside their maps: by `scores` if there are any, otherwise by excess nats.
pub(super) fn odd(
    engine: &mut dyn Engine,
    quantizer: &Quantizer,
    tokens: &TokenSet,
    surprise: &[Surprise],
    scores: Option<&[Option<f64>]>,
) -> Result<Vec<ImageWithMap>> {
    let mut order: Vec<usize> = (0..surprise.len()).collect();
    // Images without a score come last.
    let by = |i: usize| match scores {
        Some(scores) => scores[i].unwrap_or(f64::NEG_INFINITY),
        None => surprise[i].excess(),
    };
    order.sort_by(|&a, &b| by(b).total_cmp(&by(a)));
    order.truncate(ODD);
    let (pairs, _) = surprise_pairs(engine, quantizer, tokens, &order)?;
    let named = |(i, [image, map]): (&usize, [Pixels; 2])| {
        let number = match scores.map(|scores| scores[*i]) {
            Some(Some(score)) => format!("score {score:.3}"),
            Some(None) => "no score".into(),
            None => format!("{:+.0} nats", surprise[*i].excess()),
        };
        let name = format!("{}, {number}", tokens.names[*i]);
        ImageWithMap { name, image, map }
    };
    Ok(order.iter().zip(pairs).map(named).collect())
}

/// Images beside their surprise maps, and the nats of the brightest colour.
///
/// That is the 99th percentile over all pixels shown.
///
/// # Errors
/// When the images don't have the model's size, or the engine fails.
pub fn surprise_pairs(
    engine: &mut dyn Engine,
    quantizer: &Quantizer,
    set: &TokenSet,
    shown: &[usize],
) -> Result<(Vec<[Pixels; 2]>, f32)> {
    let maps = shown.iter().map(|&i| surprise_maps(engine, set, i..i + 1)).collect::<Result<Vec<_>>>()?;
    let mut all = maps.concat();
    let place = all.len().saturating_sub(1) * 99 / 100;
    let top = if all.is_empty() { 0.0 } else { *all.select_nth_unstable_by(place, f32::total_cmp).1 }.max(1e-3);
    let pair = |(&i, map): (&usize, &Vec<f32>)| {
        [quantizer.pixels(set.image(i), set.n_px).with_channels(3).into_owned(), heat(map, set.n_px, top)]
    };
    Ok((shown.iter().zip(&maps).map(pair).collect(), top))
}
