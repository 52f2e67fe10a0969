//! `igpt pretrain`: trains a model and leaves a run directory.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use igpt::train::{self, LrSearch, Overrides, Recipe, RunConfig, RunDir, Start, Summary, Value};
use igpt::{Error, Result};
use serde_json::json;

use crate::output;
use crate::progress::Progress;

const EXAMPLES: &str = "\
Examples:
  igpt pretrain --data emoji --preset nano --n-px 16 --minutes 5 --out runs/emoji
  igpt pretrain --data fashion-mnist --colors 16 --epochs 10 --out runs/fashion
  igpt pretrain --resume --out runs/fashion
  igpt pretrain --config runs/fashion/config.resolved.toml --set train.seed=1 --out runs/fashion-1

Settings come from the recipe, then --config, then the flags, then --set; the later wins. Ctrl-C saves a checkpoint and ends; a second \
one ends at once.";

/// Flags of `igpt pretrain`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Images: emoji (the default), fashion-mnist, mnist, cifar10, cifar100, stl10, or a folder of pictures
    #[arg(long, value_name = "SPEC")]
    data: Option<String>,
    /// Where data sets are looked for and downloaded to
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Size of the network; nano is the default
    #[arg(long, value_parser = ["nano", "tiny", "xs", "s", "m", "l", "xl"])]
    preset: Option<String>,
    /// Image side, or HEIGHTxWIDTH; the images' own size where that is possible, otherwise 32
    #[arg(long, value_name = "SIDE", value_parser = train::parse_n_px)]
    n_px: Option<igpt::model::ImageSize>,
    /// Colours of the palette to fit; 512 by default, 16 for grey images
    #[arg(long, value_name = "N")]
    colors: Option<usize>,
    /// A palette to use instead: .npy, preprocessor_config.json, model directory or run directory
    #[arg(long, value_name = "FILE", conflicts_with = "colors")]
    palette: Option<PathBuf>,
    /// Budget in optimiser steps
    #[arg(long, value_name = "N", conflicts_with_all = ["epochs", "minutes"])]
    steps: Option<u64>,
    /// Budget in passes over the training images
    #[arg(long, value_name = "E", conflicts_with = "minutes")]
    epochs: Option<f64>,
    /// Budget in minutes
    #[arg(long, value_name = "M")]
    minutes: Option<f64>,
    /// Run directory
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    /// Settings below all others: modern (the default; most learned in the time) or paper (as Chen et al. 2020 trained)
    #[arg(long, value_parser = ["paper", "modern"])]
    recipe: Option<String>,
    /// Images of a step, 0 for about 4096 tokens; 0 by default, 128 in the paper
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// What updates the weights: adam, or muon for the hidden matrices with Adam for the rest; adam in the paper
    #[arg(long, value_parser = ["adam", "muon"])]
    optimizer: Option<String>,
    /// Peak learning rate of Adam; 0.0015 by default, 0.003 in the paper
    #[arg(long, value_name = "LR")]
    lr: Option<f64>,
    /// Peak learning rate of Muon; 0.01 by default
    #[arg(long, value_name = "LR")]
    muon_lr: Option<f64>,
    /// Augmentation of the training images; none by default
    #[arg(long, value_parser = ["none", "imagenet", "cifar"])]
    augment: Option<String>,
    /// Number format of the matrix products; bf16 by default
    #[arg(long, value_parser = ["bf16", "f32"])]
    precision: Option<String>,
    /// Threads to compute with; 0, the default, is one for each available core
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Seed of everything random; 0 by default
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Settings in TOML, such as another run's config.resolved.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, such as train.lr=1e-3; may be given several times
    #[arg(long, value_name = "A.B=V")]
    set: Vec<String>,
    /// Go on with the run in --out
    #[arg(long, conflicts_with = "overwrite")]
    resume: bool,
    /// Replace the run in --out
    #[arg(long)]
    overwrite: bool,
    /// Try these learning rates on a tenth of the budget each, large to small, and train with the best; Muon's where it
    /// trains, Adam's then keeping its ratio
    #[arg(long, value_name = "LR,LR,…", value_delimiter = ',', conflicts_with_all = ["lr", "muon_lr", "resume"])]
    lr_search: Vec<f64>,
    /// Print the result as one JSON object, the last line of standard output
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let mut config = settings(&args)?;
    config.validate()?;
    let stop = stop_on_signals()?;
    let mut progress = Progress::new();
    let mut start = match (args.resume, args.overwrite) {
        (true, _) => Start::Resume,
        (_, true) => Start::Overwrite,
        _ => Start::New,
    };
    let search = if args.lr_search.is_empty() {
        None
    } else {
        let found = train::lr_search(&config, &args.out, start, &args.lr_search, &mut progress, &stop)?;
        start = Start::New;
        progress.finish();
        eprint!("{}", table(&found));
        config.train.set_main_rate(found.best);
        Some(found)
    };
    let summary = train::pretrain(&config, &args.out, start, &mut progress, &stop);
    progress.finish();
    let summary = summary?;
    tell(&summary);
    if args.json {
        let mut value = serde_json::to_value(&summary).map_err(|e| Error::Invalid(e.to_string()))?;
        value["lr"] = json!(config.train.lr);
        if let Some(muon) = config.train.muon() {
            value["muon_lr"] = json!(muon.lr);
        }
        if let Some(found) = search {
            value["lr_search"] = json!(found.trials);
        }
        output::print_json(&value);
    }
    Ok(())
}

/// The config of all layers: the run to resume, --config, flags, --set.
fn settings(args: &Args) -> Result<RunConfig> {
    let mut layers = Overrides::default();
    if args.resume {
        // Runs from before there were recipes name none; they were the paper's.
        layers.put("train.recipe", Recipe::Paper.name());
        layers.file(&RunDir::claim(&args.out, Start::Resume)?.config())?;
    }
    if let Some(path) = &args.config {
        layers.file(path)?;
    }
    if let Some(recipe) = &args.recipe {
        layers.recipe(recipe);
    }
    let path = |path: &PathBuf| path.to_string_lossy().into_owned();
    let int = |n: usize| Value::Integer(n as i64);
    let flags: [(&str, Option<Value>); 16] = [
        ("data.spec", args.data.clone().map(Into::into)),
        ("data.dir", args.data_dir.as_ref().map(|p| path(p).into())),
        ("data.augment", args.augment.clone().map(Into::into)),
        ("model.preset", args.preset.clone().map(Into::into)),
        ("model.n_px", args.n_px.map(|n_px| vec![int(n_px.height), int(n_px.width)].into())),
        ("palette.colors", args.colors.map(int)),
        ("palette.file", args.palette.as_ref().map(|p| path(p).into())),
        ("train.steps", args.steps.map(|n| int(n as usize))),
        ("train.epochs", args.epochs.map(Into::into)),
        ("train.minutes", args.minutes.map(Into::into)),
        ("train.optimizer", args.optimizer.clone().map(Into::into)),
        ("train.muon_lr", args.muon_lr.map(Into::into)),
        ("train.batch", args.batch.map(int)),
        ("train.lr", args.lr.map(Into::into)),
        ("train.precision", args.precision.clone().map(Into::into)),
        ("train.threads", args.threads.map(int)),
    ];
    for (key, value) in flags {
        if let Some(value) = value {
            layers.put(key, value);
        }
    }
    if let Some(seed) = args.seed {
        layers.set(&format!("train.seed={seed}"))?;
    }
    for assignment in &args.set {
        layers.set(assignment)?;
    }
    layers.finish()
}

/// The first SIGINT or SIGTERM raises the flag, a second one ends the program with the usual code.
pub(crate) fn stop_on_signals() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, stop.clone())
            .and_then(|_| signal_hook::flag::register(signal, stop.clone()))
            .map_err(Error::io("signal handler"))?;
    }
    Ok(stop)
}

fn table(found: &LrSearch) -> String {
    let mut text = String::from("learning rate   validation loss\n");
    for trial in &found.trials {
        let loss = trial.validation_loss.map_or("not finite".into(), |loss| format!("{loss:.4}"));
        let mark = if trial.lr == found.best { "  <- best" } else { "" };
        text += &format!("{:<13}   {loss}{mark}\n", trial.lr);
    }
    text
}

fn tell(summary: &Summary) {
    let run = summary.run.display();
    let loss = |loss: Option<f64>| loss.map_or("not measured".into(), |loss| format!("{loss:.4} nats/token"));
    eprintln!(
        "{} after {} steps, {:.0} s, {:.0} tokens/s: validation loss {}, lowest {}",
        if summary.stopped { "stopped" } else { "done" },
        summary.steps,
        summary.seconds,
        summary.tokens_per_second,
        loss(summary.validation_loss),
        loss(summary.best_validation_loss),
    );
    if summary.stopped {
        eprintln!("go on with: igpt pretrain --resume --out {run}");
    } else {
        eprintln!(
            "the model is in {}; look at it with: igpt sample --model {run} -n 16 --out samples.png",
            summary.model.display()
        );
    }
}
