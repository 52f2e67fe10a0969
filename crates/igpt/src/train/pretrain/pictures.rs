//! Pictures drawn during a run: samples, and completions of validation images.

use std::path::Path;

use crate::Result;
use crate::data::TokenSet;
use crate::device::Engine;
use crate::formats::png;
use crate::palette::Quantizer;
use crate::{generate, image};

/// Ratio of the images in a sample grid to those completed beside it.
pub(super) const COMPLETED: usize = 4;

pub(super) fn sample_grid(
    engine: &dyn Engine,
    quantizer: &Quantizer,
    images: usize,
    seed: u64,
    step: u64,
    path: &Path,
) -> Result<()> {
    let settings = generate::SamplingSettings { seed, ..Default::default() };
    let drawn = generate::sample(engine, images, 0, &settings, 0, &mut |_, _| ())?;
    let n_px = engine.config().n_px;
    let cells: Vec<_> = drawn.iter().map(|tokens| quantizer.pixels(tokens, n_px)).collect();
    let columns = (images as f64).sqrt().ceil() as usize;
    let grid = image::grid(&cells, columns, image::readable_scale(n_px));
    let text = png::TextChunks::new("Samples while training").with("Step", step).with_all(settings.lines());
    png::save(path, &grid, &text)
}

/// Completes the upper halves of a quarter as many validation images: the given half, two completions, the original.
pub(super) fn completion_grid(
    engine: &dyn Engine,
    quantizer: &Quantizer,
    set: &TokenSet,
    images: usize,
    seed: u64,
    step: u64,
    path: &Path,
) -> Result<()> {
    let n = images.div_ceil(COMPLETED).min(set.images());
    if n == 0 {
        return Ok(());
    }
    let n_px = engine.config().n_px;
    let given = n_px.height / 2 * n_px.width;
    let originals: Vec<&[u16]> = (0..n).map(|i| set.image(i * set.images() / n)).collect();
    let halves: Vec<&[u16]> = originals.iter().map(|tokens| &tokens[..given]).collect();
    let settings = generate::SamplingSettings { seed, ..Default::default() };
    let completed = generate::complete(engine, &halves, 0, 2, &settings, 0, &mut |_, _| ())?;
    let mut cells = Vec::new();
    for (original, completed) in originals.iter().zip(&completed) {
        let original = quantizer.pixels(original, n_px);
        cells.push(image::mask_after(&original, given));
        cells.extend(completed.iter().map(|tokens| quantizer.pixels(tokens, n_px)));
        cells.push(original);
    }
    let grid = image::grid(&cells, 4, image::readable_scale(n_px));
    let text = png::TextChunks::new("Completions while training").with("Step", step).with_all(settings.lines());
    png::save(path, &grid, &text)
}
