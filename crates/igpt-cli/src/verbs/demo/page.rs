//! The demo's page: sentences and figures around what it found.

use std::path::Path;

use igpt::Result;
use igpt::data::Pixels;
use igpt::model::ModelConfig;
use igpt::palette::{Palette, Quantizer};
use igpt::report::chart::Level;
use igpt::report::page::{Command, Figure, Swatch};
use igpt::report::{Chart, Page, gif, grid, readable_scale};
use igpt::train::Metrics;

use super::findings::{ANIMATED, Findings};

/// What the page needs to know beside the findings.
pub(super) struct Facts<'a> {
    pub run: &'a Path,
    pub data: &'a str,
    pub train_images: usize,
    pub config: &'a ModelConfig,
    pub quantizer: &'a Quantizer,
    pub chart: Chart,
    pub steps: u64,
    /// The step whose weights were taken.
    pub taken: u64,
    pub train_seconds: f64,
    pub isa: String,
}

/// The loss curve of a run's metrics.
pub(super) fn curve(metrics: &Path) -> Result<Chart> {
    let mut chart = Chart::default();
    for row in Metrics::read(metrics)? {
        let curve = if row.split == "train" { &mut chart.train } else { &mut chart.validation };
        curve.push((row.step as f64, row.loss));
    }
    Ok(chart)
}

/// Composes the page.
pub(super) fn page(facts: Facts<'_>, findings: &Findings) -> Page {
    let Facts { run, data, config, quantizer, .. } = facts;
    let palette = quantizer.palette();
    let size = config.n_px;
    let Findings { likelihood, baselines, distortion, settings, .. } = findings;
    let images =
        |samples: &[Vec<u16>]| -> Vec<Pixels> { samples.iter().map(|tokens| quantizer.pixels(tokens, size)).collect() };
    let colors: Vec<[u8; 3]> = (0..palette.n_vocab()).map(|token| palette.bytes(token as u16)).collect();
    let strip = &findings.samples[..ANIMATED.min(findings.samples.len())];
    // Enlarged here a little, so that the gaps stay thin when the page enlarges it further.
    let scale = (readable_scale(size) / 2).max(1);
    let animation = gif::encode(strip, size, &colors, 0, strip.len(), scale);
    let (best, best_nats) = findings.best_baseline();
    let lead = 100.0 * findings.lead();
    let (ahead, against) = if lead >= 0.0 { ("below", "better") } else { ("above", "worse") };
    let level = |name: &str, value, own| Level { name: name.into(), value, own };
    let mut chart = facts.chart.clone();
    chart.levels = vec![
        level("uniform", baselines.uniform, false),
        level("unigram", baselines.unigram, false),
        level("context", baselines.context, false),
        level("this model on the test split", likelihood.nats_per_token, true),
    ];
    let minutes = duration(facts.train_seconds);
    let n = likelihood.images;
    let parameters = config.parameters();
    let rows = findings.rows;
    let attempts = findings.completions.first().map_or(0, |c| c.completions.len());
    Page {
        title: if data == "emoji" { "Emoji, pixel by pixel".into() } else { format!("{data}, pixel by pixel") },
        lead: format!(
            "A transformer of {} parameters looked at {} images for {minutes} and learned to draw {size} pictures one \
             pixel after the other. On {} images that it has never seen, its likelihood is {:.0} % {against} than that \
             of the best of three baselines.",
            grouped(parameters),
            grouped(facts.train_images),
            grouped(n),
            lead.abs(),
        ),
        headline: vec![
            (format!("{:.3}", likelihood.nats_per_token), "nats per pixel on the test split".into()),
            (format!("{:.0} %", lead.abs()), format!("{ahead} the best baseline, {best} ({best_nats:.3})")),
            (minutes.clone(), format!("of training, {} steps", grouped(facts.steps as usize))),
            (format!("{:.1} dB", distortion.psnr_db), format!("PSNR of the {}-colour palette", palette.n_vocab())),
        ],
        samples: images(&findings.samples),
        samples_caption: format!(
            "The first {} images of {settings}, in order: none was picked or left out.",
            findings.samples.len()
        ),
        animation: Some((animation, grid(&images(strip), strip.len(), scale))),
        completions: findings.completions.clone(),
        completions_caption: format!(
            "{} images spread evenly over the test split, none picked. The model sees the upper {rows} rows and draws \
             the rest {attempts} times.",
            findings.completions.len()
        ),
        chart,
        chart_caption: "Nats per pixel over optimiser steps: how surprised the model is by a pixel’s true colour, on \
                        average. Dashed lines are models that only count: all colours alike (uniform), how often each \
                        colour occurs (unigram), how often it occurs beside this left and under this upper neighbour \
                        (context, smoothed)."
            .into(),
        swatch: Swatch { colors: readable_order(palette), caption: swatch_caption(findings, palette) },
        figures: figures(findings, config, training(&facts)),
        commands: commands(run, data, size.height),
        footer: format!("igpt {} · {data} · seed {} · {}", env!("CARGO_PKG_VERSION"), settings.seed, facts.isa),
    }
}

fn figure(name: &str, value: String, meaning: &str) -> Figure {
    Figure { name: name.into(), value, meaning: meaning.into() }
}

fn training(facts: &Facts<'_>) -> Figure {
    let mut meaning = format!("in {}", duration(facts.train_seconds));
    if facts.taken != facts.steps {
        let taken = grouped(facts.taken as usize);
        meaning += &format!("; the weights are those of step {taken}, where the validation loss was lowest");
    }
    figure("Training", format!("{} steps", grouped(facts.steps as usize)), &meaning)
}

fn figures(findings: &Findings, config: &ModelConfig, training: Figure) -> Vec<Figure> {
    let Findings { likelihood, baselines, distortion, .. } = findings;
    vec![
        figure(
            "Likelihood",
            format!("{} nats", findings.with_interval()),
            "per pixel, every pixel scored, the first one too; mean over the test images with a 95 % interval",
        ),
        figure("", format!("{:.4} bits", likelihood.bits_per_pixel), "per pixel: nats / ln 2"),
        figure(
            "",
            format!("{:.4} bits", likelihood.bits_per_dim),
            "per dim, a pixel’s bits shared among its channels; comparable only at the same palette",
        ),
        figure("", format!("{:.1} nats", likelihood.nats_per_image), "per image"),
        figure("Uniform", format!("{:.4} nats", baselines.uniform), "per pixel if all colours are alike"),
        figure("Unigram", format!("{:.4} nats", baselines.unigram), "per pixel from how often each colour occurs"),
        figure(
            "Context",
            format!("{:.4} nats", baselines.context),
            "per pixel from the left and upper neighbours, interpolated by Witten–Bell",
        ),
        figure(
            "Palette",
            format!("{:.2} dB PSNR", distortion.psnr_db),
            "what replacing each pixel by its nearest colour costs, on the test images",
        ),
        figure(
            "Model",
            format!("{} parameters", grouped(config.parameters())),
            &format!("{} blocks of width {}, {} heads", config.n_layer, config.n_embd, config.n_head),
        ),
        training,
    ]
}

fn swatch_caption(findings: &Findings, palette: &Palette) -> String {
    let distortion = &findings.distortion;
    format!(
        "{} colours found by k-means in the training images; {} of them occur in the test images, with an entropy of \
         {:.2} bits per pixel.",
        palette.n_vocab(),
        distortion.used,
        distortion.entropy_bits
    )
}

fn commands(run: &Path, data: &str, side: usize) -> Vec<Command> {
    let command = |purpose: &str, line: String| Command { purpose: purpose.into(), line };
    let run = run.display();
    vec![
        command(
            "Draw other images: another seed, a little bolder",
            format!("igpt sample --model {run} -n 64 --seed 7 --temperature 0.9 --out samples.png --gif drawing.gif"),
        ),
        command(
            "Complete images from a quarter of their rows",
            format!("igpt complete --model {run} --data {data} --rows {} -n 12 --out completions.png", side / 4),
        ),
        command("Measure the likelihood again", format!("igpt eval --model {run} --data {data} --split test")),
        command(
            "Train a larger model for an hour",
            format!("igpt pretrain --data {data} --preset tiny --n-px 32 --colors 128 --minutes 60 --out runs/larger"),
        ),
        command("Do all this with your own pictures", "igpt demo --data FOLDER --minutes 20".into()),
    ]
}

/// Greys from dark to light, then the colours by hue.
fn readable_order(palette: &Palette) -> Vec<[u8; 3]> {
    let mut colors: Vec<[u8; 3]> = (0..palette.n_vocab()).map(|token| palette.bytes(token as u16)).collect();
    colors.sort_by_cached_key(|&[r, g, b]| {
        let [rf, gf, bf] = [r, g, b].map(f32::from);
        let (max, min) = (rf.max(gf).max(bf), rf.min(gf).min(bf));
        let light = (299.0 * rf + 587.0 * gf + 114.0 * bf) as u32;
        let chroma = max - min;
        if chroma < 24.0 {
            return (0, light);
        }
        let hue = if max == rf {
            ((gf - bf) / chroma).rem_euclid(6.0)
        } else if max == gf {
            (bf - rf) / chroma + 2.0
        } else {
            (rf - gf) / chroma + 4.0
        };
        // Twelve families of hue, each from dark to light.
        (1 + ((hue * 2.0 + 0.5) as u32) % 12, light)
    });
    colors
}

/// 1234567 as 1,234,567.
fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Seconds as people say them.
fn duration(seconds: f64) -> String {
    if seconds < 180.0 { format!("{seconds:.0} seconds") } else { format!("{:.0} minutes", seconds / 60.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_read_them() {
        assert_eq!([1, 999, 1000, 1234567].map(grouped), ["1", "999", "1,000", "1,234,567"]);
        assert_eq!([12.4, 110.0, 3599.0].map(duration), ["12 seconds", "110 seconds", "60 minutes"]);
    }

    #[test]
    fn swatches_begin_with_the_greys() {
        let color = |c: [u8; 3]| c.map(|v| v as f32 / 127.5 - 1.0);
        let colors = [[255, 0, 0], [255, 255, 255], [0, 0, 255], [9, 9, 9], [90, 0, 0]].map(color);
        let palette = Palette::new(colors.to_vec(), 3).unwrap();
        let order = readable_order(&palette);
        assert_eq!(order, [[9, 9, 9], [255, 255, 255], [90, 0, 0], [255, 0, 0], [0, 0, 255]]);
    }
}
