//! The program `igpt`: flags, wiring and exit codes. What it does lives in the library.

mod download;
mod model_args;
mod named;
mod output;
mod progress;
mod ranks;
mod shared;
mod signals;
mod verbs;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use igpt::Result;
use igpt::text::one_line;

use crate::output::{put_bytes, say};
use crate::signals::Signals;

/// Generative pretraining from pixels: a palette, a transformer that predicts the next pixel, and what it learned.
#[derive(Parser)]
#[command(name = "igpt", version, about, after_help = "Without a verb, `igpt` runs `igpt demo`.")]
struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    /// The main job in one command: train on the data, judge, draw, and show it all on a page
    Demo(verbs::demo::Args),
    /// Look for training images that the model has memorised
    Audit(verbs::audit::Args),
    /// Measure how fast this machine trains and samples
    Bench(verbs::bench::Args),
    /// List the checkpoints of a run, and check that they are whole
    Checkpoints(verbs::checkpoints::Args),
    /// Name the classes of pictures
    Classify(verbs::classify::Args),
    /// Complete images of which the first rows are given
    Complete(verbs::complete::Args),
    /// Print the completion script of a shell
    Completions(verbs::completions::Args),
    /// Prepare images: token files for large sets, and a look for duplicates and damage
    Data(verbs::data::Args),
    /// Say what this machine offers, what igpt will use of it, and what would help
    Doctor(verbs::doctor::Args),
    /// Turn images into the features that the network has of them
    Embed(verbs::embed::Args),
    /// Score images: likelihood beside baselines
    Eval(verbs::eval::Args),
    /// Train a classifier on top of a model, or from scratch
    Finetune(Box<verbs::finetune::Args>),
    /// Judge pictures by good ones: odd or not at a stated rate of false alarms, with maps of where
    Inspect(verbs::inspect::Args),
    /// Fit a palette to images, or judge one
    Palette(verbs::palette::Args),
    /// Compare logits, loss and features with what transformers recorded
    Parity(verbs::parity::Args),
    /// Classify images by a linear probe of the network's features, beside baselines
    Probe(verbs::probe::Args),
    /// Show runs on one page: curves, samples, what the layers know; several side by side
    Report(verbs::report::Args),
    /// Draw images from nothing
    Sample(verbs::sample::Args),
    /// Rank images by how odd they are, with maps of where
    Score(verbs::score::Args),
    /// Serve a model: a page to play and work with, and an API
    Serve(Box<verbs::serve::Args>),
    /// Say what a run will take in memory, time and disk before it is begun
    Plan(Box<verbs::plan::Args>),
    /// Prove on this machine that a killed run goes on to the same bits
    VerifyResume(verbs::verify_resume::Args),
    /// Show a run that is under way or over on a live page
    Watch(verbs::watch::Args),
    /// Train a model on images
    Pretrain(Box<verbs::pretrain::Args>),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => return tell(&told),
    };
    output::start_logging();
    if let Err(unknown) = igpt_kernels::Isa::requested() {
        say!("igpt: {unknown}");
        return ExitCode::FAILURE;
    }
    let result = Signals::heed().and_then(|signals| match cli.verb {
        // These divide their work among the processes of an mpirun; the rest is for one of them.
        Some(Verb::Pretrain(_) | Verb::Finetune(_) | Verb::Embed(_) | Verb::Eval(_) | Verb::Probe(_)) => {
            run(cli.verb, &signals)
        }
        verb => ranks::led(|| run(verb, &signals)),
    });
    ended(result)
}

/// Help and the version go to standard output, what is wrong with the arguments to standard error, as words: an
/// argument may be the name of a stranger's file.
fn tell(told: &clap::Error) -> ExitCode {
    let text = told.render();
    if told.use_stderr() {
        say!("{}", text.to_string().trim_end());
        return ExitCode::from(2);
    }
    let text = if std::io::stdout().is_terminal() { text.ansi().to_string() } else { text.to_string() };
    ended(put_bytes(text.as_bytes()))
}

fn ended(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if output::is_reader_gone(&error) => ExitCode::SUCCESS,
        Err(error) => {
            say!("igpt: {}", one_line(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Option<Verb>, signals: &Signals) -> Result<()> {
    match verb {
        Some(Verb::Demo(args)) => verbs::demo::run(args, signals),
        Some(Verb::Audit(args)) => verbs::audit::run(args),
        Some(Verb::Bench(args)) => verbs::bench::run(args),
        Some(Verb::Checkpoints(args)) => verbs::checkpoints::run(args),
        Some(Verb::Classify(args)) => verbs::classify::run(args),
        Some(Verb::Complete(args)) => verbs::complete::run(args),
        Some(Verb::Completions(args)) => verbs::completions::run(args),
        Some(Verb::Data(args)) => verbs::data::run(args),
        Some(Verb::Doctor(args)) => verbs::doctor::run(args),
        Some(Verb::Embed(args)) => verbs::embed::run(args),
        Some(Verb::Eval(args)) => verbs::eval::run(args),
        Some(Verb::Finetune(args)) => verbs::finetune::run(*args, signals),
        Some(Verb::Inspect(args)) => verbs::inspect::run(args),
        Some(Verb::Palette(args)) => verbs::palette::run(args),
        Some(Verb::Parity(args)) => verbs::parity::run(args),
        Some(Verb::Probe(args)) => verbs::probe::run(args),
        Some(Verb::Report(args)) => verbs::report::run(args),
        Some(Verb::Sample(args)) => verbs::sample::run(args),
        Some(Verb::Score(args)) => verbs::score::run(args),
        Some(Verb::Serve(args)) => verbs::serve::run(*args, signals),
        Some(Verb::Watch(args)) => verbs::watch::run(args, signals),
        Some(Verb::Plan(args)) => verbs::plan::run(*args),
        Some(Verb::VerifyResume(args)) => verbs::verify_resume::run(args, signals),
        Some(Verb::Pretrain(args)) => verbs::pretrain::run(*args, signals),
        None => verbs::demo::run_default(signals),
    }
}
