//! Sections of samples, completions, odd images and palettes.

use super::shared::{data, each, images, place, source, training};
use crate::formats::gif;
use crate::image::{Pixels, grid, readable_scale};
use crate::report::page::{Block, Swatch};
use crate::report::runs::Findings;
use crate::report::runs::words::{grouped, readable_order};

/// Number of samples in the animation.
const ANIMATED: usize = 8;
/// Number of samples per run if there are several, and of other pictures.
const SAMPLES: usize = 16;
const COMPLETIONS: usize = 4;
const ODD: usize = 6;

pub(in super::super) fn samples(runs: &[Findings]) -> Vec<Block> {
    let alone = runs.len() == 1;
    each(runs, |run| {
        let Some(drawn) = &run.drawn else { return Vec::new() };
        let size = run.config.n_px;
        let shown = &drawn.samples[..if alone { drawn.samples.len() } else { SAMPLES.min(drawn.samples.len()) }];
        let images: Vec<Pixels> = shown.iter().map(|tokens| run.quantizer.pixels(tokens, size)).collect();
        let (n, how) = (shown.len(), &drawn.settings);
        let mut blocks = vec![
            Block::Images(images.clone()),
            Block::Caption(format!("The first {n} images of {how}, in order: none was picked or left out.")),
        ];
        if alone {
            let n = ANIMATED.min(shown.len());
            // Enlarged a little here, so that the gaps stay thin when the page enlarges it further.
            let scale = (readable_scale(size) / 2).max(1);
            let palette = run.quantizer.palette();
            let colors: Vec<[u8; 3]> = (0..palette.n_vocab()).map(|token| palette.bytes(token as u16)).collect();
            blocks.push(Block::Animation {
                gif: gif::encode(&shown[..n], size, &colors, 0, n, scale),
                still: grid(&images[..n], n, scale),
                alt: "Samples being drawn".into(),
            });
            blocks.push(Block::caption(
                "The same, pixel by pixel in raster order: left to right, top to bottom. Each pixel is drawn from the model’s \
                 guess given all pixels before it.",
            ));
        }
        let seed = how.seed;
        blocks.push(Block::Command(format!(
            "igpt sample --model {} -n {n} --seed {seed} --out samples.png --gif drawing.gif",
            place(run, "")
        )));
        blocks
    })
}

pub(in super::super) fn completions(runs: &[Findings]) -> Vec<Block> {
    each(runs, |run| {
        let Some(drawn) = &run.drawn else { return Vec::new() };
        let n = drawn.completions.len();
        // Several runs show only the first completions.
        let shown = drawn.completions[..if runs.len() == 1 { n } else { n.min(COMPLETIONS) }].to_vec();
        let attempts = shown.first().map_or(0, |c| c.completions.len());
        let (rows, seed) = (drawn.rows, drawn.settings.seed);
        vec![
            Block::Completions(shown),
            Block::Caption(format!(
                "Images spread evenly over the test split, none picked. The model sees the upper {rows} rows and draws the rest \
                 {attempts} times."
            )),
            Block::Command(format!(
                "igpt complete {} --rows {rows} -n {n} --spread --seed {seed} --out completions.png",
                source(run)
            )),
        ]
    })
}

pub(in super::super) fn over_time(runs: &[Findings]) -> Vec<Block> {
    let mut blocks = each(runs, |run| {
        let named = |(step, png): &(u64, Vec<u8>)| (format!("step {}", grouped(*step as usize)), png.clone());
        match run.over_time.len() {
            0 => Vec::new(),
            _ => vec![Block::Timeline(run.over_time.iter().map(named).collect())],
        }
    });
    if !blocks.is_empty() {
        blocks.push(Block::caption(
            "The same seed at several steps of training, so that each sheet can be compared with the next.",
        ));
        blocks.extend(training(runs, |run| !run.over_time.is_empty()));
    }
    blocks
}

pub(in super::super) fn odd(runs: &[Findings]) -> Vec<Block> {
    each(runs, |run| {
        if run.odd.is_empty() {
            return Vec::new();
        }
        let shown = if runs.len() == 1 { run.odd.len() } else { run.odd.len().min(ODD) };
        vec![
            Block::Pairs(run.odd[..shown].to_vec()),
            Block::Caption(format!(
                "The oddest of {}: {}. Beside each its map: the brighter a pixel, the less it was expected.",
                run.shown(),
                match run.odd_by {
                    Some(score) => format!("those with the highest {score} score, by the fit of igpt inspect that the model has"),
                    None => "those that cost the model most nats beyond the size of their PNG files: the model has no fit with a \
                             better score (igpt inspect fit)"
                        .into(),
                }
            )),
            Block::Command(format!("igpt score {}{} --top {shown} --out odd", source(run), images(run))),
        ]
    })
}

pub(in super::super) fn palettes(runs: &[Findings]) -> Vec<Block> {
    each(runs, |run| {
        let palette = run.quantizer.palette();
        let distortion = &run.distortion;
        let mut caption = format!(
            "{} colours; {} of them occur in {}, with an entropy of {:.2} bits per pixel.",
            palette.n_vocab(),
            distortion.used,
            run.shown(),
            distortion.entropy_bits,
        );
        if let Some(psnr_db) = run.psnr_db() {
            caption += &format!(
                " Replacing each pixel by its nearest colour costs {psnr_db:.2} dB PSNR (mean squared error {:.2}).",
                distortion.mse
            );
        }
        let size = run.config.n_px;
        // The command takes square sizes only; without a size it judges the images as they are.
        let side = if size.height == size.width { format!(" --n-px {}", size.width) } else { String::new() };
        let (place, data) = (place(run, ""), data(run));
        vec![
            Block::Swatch(Swatch { colors: readable_order(palette), caption }),
            Block::Command(format!(
                "igpt palette inspect --palette {place} {data} --split test{side} --out palette.png"
            )),
        ]
    })
}
