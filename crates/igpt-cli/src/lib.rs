//! The program `igpt` as a function: flags, wiring and exit codes. What it does lives in the library.
//!
//! Another program that brings something along, such as processes over MPI, calls [`run_with`] in its `main`.

mod download;
mod help;
mod model_args;
mod named;
mod output;
mod progress;
mod ranks;
mod shared;
mod signals;
mod verbs;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{FromArgMatches, Parser, Subcommand};
use igpt::Result;
use igpt::text::one_line;

use crate::output::{put_bytes, say};
use crate::signals::Signals;

/// Generative pretraining from pixels (iGPT): train, sample, complete, score, probe and fine-tune image transformers.
#[derive(Parser)]
#[command(name = "igpt", version, after_help = "Without a verb, `igpt` runs `igpt demo`.")]
struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    /// Pretrain on embedded images for two minutes, then evaluate, sample and show a report
    Demo(verbs::demo::Args),
    /// Check a model for memorised training images
    Audit(verbs::audit::Args),
    /// Measure the speed of training, sampling and probes on this machine
    Bench(verbs::bench::Args),
    /// List and verify the checkpoints of a run
    Checkpoints(verbs::checkpoints::Args),
    /// Classify images with a fine-tuned model
    Classify(verbs::classify::Args),
    /// Complete images from their first rows
    Complete(verbs::complete::Args),
    /// Print the completion script of a shell
    Completions(verbs::completions::Args),
    /// Tokenize data sets, find duplicates and damaged images
    Data(verbs::data::Args),
    /// Show what igpt will use of this machine: instruction set, threads, memory, devices
    Doctor(verbs::doctor::Args),
    /// Extract features (embeddings) of images
    Embed(verbs::embed::Args),
    /// Evaluate the log-likelihood of a data set, beside n-gram baselines
    Eval(verbs::eval::Args),
    /// Fine-tune a model as an image classifier, or train one from scratch
    Finetune(Box<verbs::finetune::Args>),
    /// Detect anomalies: fit to good images, then judge others at a stated false-alarm rate
    Inspect(verbs::inspect::Args),
    /// Fit a colour palette by k-means, or evaluate one
    Palette(verbs::palette::Args),
    /// Compare logits, loss and features with those of transformers
    Parity(verbs::parity::Args),
    /// Train linear probes on the features of each layer, beside baselines
    Probe(verbs::probe::Args),
    /// Write one page about runs: curves, samples, probes, several side by side
    Report(verbs::report::Args),
    /// Sample images unconditionally
    Sample(verbs::sample::Args),
    /// Rank images by log-likelihood, with surprise maps
    Score(verbs::score::Args),
    /// Serve a model: a studio in the browser and an HTTP API
    Serve(Box<verbs::serve::Args>),
    /// Estimate memory, time and disk of a training run
    Plan(Box<verbs::plan::Args>),
    /// Verify on this machine that a killed run resumes to the same bits
    VerifyResume(verbs::verify_resume::Args),
    /// Follow a run on a live page
    Watch(verbs::watch::Args),
    /// Pretrain a model on images
    Pretrain(Box<verbs::pretrain::Args>),
}

pub use ranks::Join;

/// Exit codes.
const SUCCESS: u8 = 0;
const FAILURE: u8 = 1;
const USAGE: u8 = 2;

/// Runs the program with the arguments of this process.
pub fn run() -> ExitCode {
    run_with(None)
}

/// Runs the program with `args`, the first of which is its name, and returns the exit code.
pub fn run_from(args: Vec<OsString>) -> i32 {
    i32::from(run_args(args))
}

/// Runs the program with the arguments of this process. Where a launcher has started several processes, `join` makes them
/// one; without it they are refused.
pub fn run_with(join: Option<Join>) -> ExitCode {
    ranks::join_by(join);
    ExitCode::from(run_args(std::env::args_os().collect()))
}

fn run_args(args: Vec<OsString>) -> u8 {
    let cli = match help::command().try_get_matches_from(args).and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(told) => return tell(&told),
    };
    output::start_logging();
    if let Err(unknown) = igpt_kernels::Isa::requested() {
        say!("igpt: {unknown}");
        return FAILURE;
    }
    let result = Signals::heed().and_then(|signals| match cli.verb {
        // These divide their work among the processes of an mpirun; the rest is for one of them.
        Some(Verb::Pretrain(_) | Verb::Finetune(_) | Verb::Embed(_) | Verb::Eval(_) | Verb::Probe(_)) => {
            run_verb(cli.verb, &signals)
        }
        verb => ranks::led(|| run_verb(verb, &signals)),
    });
    ended(result)
}

/// Help and the version go to standard output, what is wrong with the arguments to standard error, as words: an
/// argument may be the name of a stranger's file.
fn tell(told: &clap::Error) -> u8 {
    let text = told.render();
    if told.use_stderr() {
        say!("{}", text.to_string().trim_end());
        return USAGE;
    }
    let text = if std::io::stdout().is_terminal() { text.ansi().to_string() } else { text.to_string() };
    ended(put_bytes(text.as_bytes()))
}

fn ended(result: Result<()>) -> u8 {
    match result {
        Ok(()) => SUCCESS,
        Err(error) if output::is_reader_gone(&error) => SUCCESS,
        Err(error) => {
            say!("igpt: {}", one_line(&error.to_string()));
            FAILURE
        }
    }
}

fn run_verb(verb: Option<Verb>, signals: &Signals) -> Result<()> {
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
