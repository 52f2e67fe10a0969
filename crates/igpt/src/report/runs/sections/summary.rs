//! Sections of a single run's figures, of what is not shown, and of next steps.

use super::shared::{data, each, images, place, source};
use crate::evaluate::CALIBRATION_BINS;
use crate::report::page::{Block, Command, Figure};
use crate::report::runs::Findings;
use crate::report::runs::words::{duration, grouped, percent};

/// Table of a single run's figures.
pub(in super::super) fn figures(run: &Findings) -> Vec<Block> {
    let config = &run.config;
    let mut figures = losses(run);
    if let Some(found) = &run.classifier {
        let [low, high] = found.interval.map(percent);
        let meaning =
            format!("of {} test images classified rightly, 95 % interval {low} to {high}", grouped(found.images));
        figures.push(figure("Classifier", percent(found.accuracy), &meaning));
        let meaning = format!(
            "expected calibration error there: mean gap between confidence and accuracy, {CALIBRATION_BINS} bins"
        );
        figures.push(figure("", percent(found.calibration_error), &meaning));
    }
    if let Some(psnr_db) = run.psnr_db() {
        let meaning = "what replacing each pixel by its nearest colour costs, on the test images";
        figures.push(figure("Palette", format!("{psnr_db:.2} dB PSNR"), meaning));
    }
    figures.push(figure(
        "Model",
        format!("{} parameters", grouped(config.parameters())),
        &format!("{} blocks of width {}, {} heads", config.n_layer, config.n_embd, config.n_head),
    ));
    figures.extend(training(run));
    let command = format!("igpt eval {} --split test --precision f32{}", source(run), images(run));
    let command = run.likelihood.is_some().then_some(Block::Command(command));
    [Block::Figures(figures)].into_iter().chain(command).collect()
}

/// Loss on the test images; a likelihood is shown in all units and beside the n-gram baselines.
fn losses(run: &Findings) -> Vec<Figure> {
    let Findings { likelihood, baselines, config, .. } = run;
    let Some((likelihood, nats)) = likelihood.as_ref().zip(run.with_interval()) else { return Vec::new() };
    let (nats, shown) = (format!("{nats} nats"), run.shown());
    if run.is_masked() {
        let share = 100.0 * config.mask_prob;
        let meaning = format!("per masked pixel of {shown}, masks of {share:.0} %, with a 95 % interval");
        return vec![figure("Loss", nats, &meaning)];
    }
    let meaning = format!("per pixel, every pixel scored, the first one too; mean over {shown} with a 95 % interval");
    let per_dim = "per dim, a pixel’s bits shared among its channels; comparable only at the same palette";
    let context = "per pixel from the left and upper neighbours, interpolated by Witten–Bell";
    vec![
        figure("Likelihood", nats, &meaning),
        figure("", format!("{:.4} bits", likelihood.bits_per_pixel), "per pixel: nats / ln 2"),
        figure("", format!("{:.4} bits", likelihood.bits_per_dim), per_dim),
        figure("", format!("{:.1} nats", likelihood.nats_per_image), "per image"),
        figure("Uniform", format!("{:.4} nats", baselines.uniform), "per pixel if all colours are alike"),
        figure("Unigram", format!("{:.4} nats", baselines.unigram), "per pixel from how often each colour occurs"),
        figure("Context", format!("{:.4} nats", baselines.context), context),
    ]
    .into_iter()
    .chain(
        run.verdict()
            .map(|verdict| figure("Verdict", percent_below(verdict.below_best_baseline), &verdict.to_string())),
    )
    .collect()
}

/// Formats how far the model is below the best baseline.
fn percent_below(share: f64) -> String {
    format!("{} {}", percent(share.abs()), if share >= 0.0 { "below" } else { "above" })
}

fn figure(name: &str, value: String, meaning: &str) -> Figure {
    Figure { name: name.into(), value, meaning: meaning.into() }
}

fn training(run: &Findings) -> Option<Figure> {
    let last = run.metrics.last()?;
    let mut meaning = format!("in {}", duration(last.elapsed_s));
    if let Some(taken) = run.taken.filter(|taken| *taken != last.step) {
        meaning +=
            &format!("; the weights are those of step {}, where the validation was best", grouped(taken as usize));
    }
    Some(figure("Training", format!("{} steps", grouped(last.step as usize)), &meaning))
}

pub(in super::super) fn absent(runs: &[Findings]) -> Vec<Block> {
    each(runs, |run| run.absent.iter().map(Block::caption).collect())
}

pub(in super::super) fn going_on(run: &Findings, made: &str) -> Vec<Block> {
    let command = |purpose: &str, line: String| Command { purpose: purpose.into(), line };
    let (model, images, side) = (place(run, ""), data(run), run.config.n_px.height);
    let mut commands = vec![command("Make this page again", made.into())];
    if run.drawn.is_some() {
        commands.push(command(
            "Draw other images, a little bolder",
            format!("igpt sample --model {model} -n 64 --seed 7 --temperature 0.9 --out samples.png --gif drawing.gif"),
        ));
        commands.push(command(
            "Complete images from a quarter of their rows",
            format!("igpt complete --model {model} {images} --rows {} -n 12 --out completions.png", side / 4),
        ));
        commands.push(command(
            "Look for training images that it has memorised",
            format!("igpt audit --model {model} {images} --out audit"),
        ));
    }
    commands.push(command(
        "Train a larger model for an hour",
        format!("igpt pretrain {images} --preset tiny --n-px 32 --colors 128 --minutes 60 --out runs/larger"),
    ));
    commands.push(command("Compare runs", format!("igpt report {model} runs/larger --out report.html")));
    commands.push(command("Do all this with your own pictures", "igpt demo --data FOLDER --minutes 20".into()));
    vec![Block::Commands(commands)]
}
