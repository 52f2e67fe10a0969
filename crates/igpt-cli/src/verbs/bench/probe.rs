//! The linear probe's logistic regression, and where Python with scikit-learn is given the same work there, by turns.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use igpt::data::Split;
use igpt::machine::expect_memory;
use igpt::probe::{LabelledFeatures, LogisticRegression, Standardizer, Workers};
use igpt::rng::{Purpose, Rng};
use igpt::{Error, Result, files};
use serde_json::{Value, json};

use super::peers::{answer, median};
use crate::output::say;
use crate::shared::{DataArgs, ThreadArgs};

const SCRIPT: &str = include_str!("../../../peers/probe.py");

/// Flags of `igpt bench probe`.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// Training images, the first ones
    #[arg(long, default_value_t = 5000)]
    images: usize,
    /// Features of an image: rectified random mixtures of its pixels; 0 takes the pixels themselves
    #[arg(long, default_value_t = 0)]
    width: usize,
    /// Strength of the penalty
    #[arg(long, default_value_t = 1e-2)]
    strength: f64,
    /// Largest entry of the gradient at which a fit is done; scikit-learn's own default
    #[arg(long, default_value_t = 1e-4)]
    tolerance: f64,
    #[command(flatten)]
    threads: ThreadArgs,
    /// Fits; the medians count
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// A Python with scikit-learn to fit the same
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// Print one JSON object as the last line
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let (features, labels, classes) = features(args)?;
    let width = features.len() / labels.len();
    let train = LabelledFeatures::new(&features, width, &labels)?;
    let standardizer = Standardizer::fit(&features, width);
    let workers = Workers::new(args.threads.threads);
    let file = std::env::temp_dir().join(format!("igpt-bench-probe-{}.bin", std::process::id()));
    if args.python.is_some() {
        let bytes = features.iter().map(|x| x.to_le_bytes()).chain(labels.iter().map(|label| label.to_le_bytes()));
        files::write(&file, &bytes.flatten().collect::<Vec<u8>>())?;
    }
    let (mut ours, mut peers) = (Vec::new(), Vec::new());
    let mut rounds = || {
        for round in 1..=args.rounds.max(1) {
            let start = Instant::now();
            let mut logistic = LogisticRegression::new(&workers, &standardizer, train, classes)?;
            logistic.tolerance = args.tolerance;
            let fit = logistic.fit(args.strength);
            let seconds = start.elapsed().as_secs_f64();
            ours.push(json!({"seconds": seconds, "loss": fit.loss, "iterations": fit.iterations}));
            say!("round {round}: igpt {}", figures(&ours[round - 1]));
            if let Some(python) = &args.python {
                peers.push(scikit_learn(args, python, &file, labels.len(), width)?);
                say!("round {round}: scikit-learn {}", figures(&peers[round - 1]));
            }
        }
        Ok(())
    };
    let done = rounds();
    if args.python.is_some() {
        std::fs::remove_file(&file).map_err(Error::io(&file))?;
    }
    done?;
    let seconds = median(&ours, "seconds");
    let ratio = args.python.is_some().then(|| median(&peers, "seconds") / seconds);
    say!(
        "{} images of {width} features, {classes} classes: {seconds:.3} s{}",
        labels.len(),
        ratio.map_or(String::new(), |ratio| format!(", {ratio:.2} times scikit-learn's speed")),
    );
    if args.json {
        crate::output::print_json(&json!({
            "seconds": seconds,
            "ratio": ratio,
            "images": labels.len(),
            "width": width,
            "classes": classes,
            "threads": threads(args),
            "rounds": ours,
            "peers": peers,
        }))?;
    }
    Ok(())
}

/// Features, labels and the number of classes.
fn features(args: &Args) -> Result<(Vec<f32>, Vec<u32>, usize)> {
    let dataset = args.data.open()?;
    let images = dataset.split(Split::All)?;
    let (mut features, mut labels) = (Vec::new(), Vec::new());
    let mut mixtures = Vec::new();
    for i in (0..images.len()).filter(|&i| images.label(i).is_some()).take(args.images) {
        labels.extend(images.label(i));
        let pixels = images.pixels(i)?;
        let pixels = pixels.data.iter().map(|&value| f32::from(value) / 127.5 - 1.0);
        if args.width == 0 {
            features.extend(pixels);
            continue;
        }
        if mixtures.is_empty() {
            let images = args.images.min(images.len());
            expect_memory(
                ((pixels.len() + images) as u64).saturating_mul(4).saturating_mul(args.width as u64),
                || format!("{} features of {images} images", args.width),
            )?;
            let mut rng = Rng::new(0, Purpose::Probe, 0, 0);
            let deviation = 1.0 / (pixels.len() as f64).sqrt();
            mixtures = (0..pixels.len() * args.width).map(|_| (deviation * rng.normal()) as f32).collect();
        }
        let mut mixed = vec![0.0f32; args.width];
        for (pixel, weights) in pixels.zip(mixtures.chunks_exact(args.width)) {
            mixed.iter_mut().zip(weights).for_each(|(mixed, weight)| *mixed += pixel * weight);
        }
        features.extend(mixed.into_iter().map(|x| x.max(0.0)));
    }
    if labels.is_empty() || !features.len().is_multiple_of(labels.len()) {
        return Err(Error::Invalid(format!("{} has no labelled images of one size: name another set", dataset.name)));
    }
    Ok((features, labels, dataset.classes.len()))
}

fn scikit_learn(args: &Args, python: &Path, file: &Path, images: usize, width: usize) -> Result<Value> {
    let mut command = Command::new(python);
    command.arg("-").arg(file);
    command.args([images, width].map(|n| n.to_string()));
    command.args([args.strength, args.tolerance].map(|x| x.to_string()));
    command.arg(threads(args).to_string());
    answer(python, command, SCRIPT)
}

fn threads(args: &Args) -> usize {
    igpt_kernels::pool::Pool::thread_count(args.threads.threads)
}

fn figures(result: &Value) -> String {
    let number = |key: &str| result[key].as_f64().unwrap_or(f64::NAN);
    format!("{:.3} s, loss {:.6}, {} iterations", number("seconds"), number("loss"), result["iterations"])
}
