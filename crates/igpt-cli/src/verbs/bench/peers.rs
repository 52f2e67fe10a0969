//! igpt and PyTorch by turns on the same work: the ratio is what counts, as absolute times drift with the machine.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::ValueEnum;
use igpt::device::Precision;
use igpt::{Error, Result};
use igpt_kernels::pool::Pool;
use serde_json::{Value, json};

use crate::named::named;
use crate::output::say;

const TRAIN: &str = include_str!("../../../peers/train.py");
const SAMPLE: &str = include_str!("../../../peers/sample.py");
const FORWARD: &str = include_str!("../../../peers/forward.py");

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Train,
    Sample,
    Forward,
}

/// Flags of `igpt bench peers`.
#[derive(clap::Args)]
#[command(after_help = "\
Needs a Python with torch; nothing else of igpt does. For example:
  python3 -m venv venv && venv/bin/pip install torch numpy
  igpt bench peers train --python venv/bin/python --n-embd 512 --n-layer 24 --batch 1")]
pub(super) struct Args {
    /// What is compared
    #[arg(value_enum, default_value_t = Kind::Train)]
    kind: Kind,
    /// A Python with torch
    #[arg(long, value_name = "PATH", default_value = "python3")]
    python: PathBuf,
    /// Width of the residual stream
    #[arg(long, default_value_t = 256)]
    n_embd: usize,
    /// Blocks
    #[arg(long, default_value_t = 8)]
    n_layer: usize,
    /// Attention heads
    #[arg(long, default_value_t = 8)]
    n_head: usize,
    /// Tokens of an image
    #[arg(long, default_value_t = 1024)]
    n_ctx: usize,
    /// Colours of the palette
    #[arg(long, default_value_t = 512)]
    colors: usize,
    /// Images of a step, or drawn at once
    #[arg(long, default_value_t = 4)]
    batch: usize,
    /// Threads of both; 0 takes all cores
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Modes of PyTorch, the fastest of which counts
    #[arg(long, value_delimiter = ',', default_value = "bf16,bf16-compile")]
    modes: Vec<String>,
    /// Number format of igpt
    #[arg(long, value_parser = named(&Precision::ALL, Precision::name), default_value = Precision::Bf16.name())]
    precision: Precision,
    /// Turns; the medians are compared
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Print one JSON object as the last line
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let threads = Pool::thread_count(args.threads);
    let mut ours = Vec::new();
    let mut peers: Vec<(&str, Vec<Value>)> = args.modes.iter().map(|mode| (mode.as_str(), Vec::new())).collect();
    for round in 0..args.rounds.max(1) {
        ours.push(igpt(args, threads)?);
        say!("round {}: igpt {}", round + 1, figures(ours.last().expect("just pushed")));
        for (mode, results) in &mut peers {
            results.push(torch(args, threads, mode)?);
            say!("round {}: PyTorch {mode} {}", round + 1, figures(results.last().expect("just pushed")));
        }
    }
    let own = median(&ours, "tokens_per_second");
    let medians = peers.iter().map(|(mode, results)| (*mode, median(results, "tokens_per_second"), results));
    let best = medians.max_by(|a, b| a.1.total_cmp(&b.1));
    let (mode, peer, results) = best.ok_or_else(|| Error::Invalid("--modes names no mode of PyTorch".into()))?;
    let memory = median(&ours, "peak_rss_bytes") / median(results, "peak_rss_bytes");
    say!(
        "igpt {own:.0} tokens/s, PyTorch {mode} {peer:.0}: {:.2} times; peak memory {memory:.2} of PyTorch's",
        own / peer
    );
    if args.json {
        let peers = peers.iter().map(|(mode, results)| json!({"mode": mode, "rounds": results}));
        crate::output::print_json(&json!({
            "ratio": own / peer,
            "memory_ratio": memory,
            "tokens_per_second": own,
            "peer_tokens_per_second": peer,
            "peer_mode": mode,
            "rounds": ours,
            "peers": peers.collect::<Vec<_>>(),
            "threads": threads,
        }))?;
    }
    Ok(())
}

/// This program's own benchmark.
fn igpt(args: &Args, threads: usize) -> Result<Value> {
    let kind = match args.kind {
        Kind::Train => "train",
        Kind::Sample => "sample",
        Kind::Forward => "forward",
    };
    let program = std::env::current_exe().map_err(Error::io("this program"))?;
    let mut command = Command::new(&program);
    command.args(["bench", kind, "--json", "--precision", args.precision.name()]);
    for (flag, value) in [
        ("--n-embd", args.n_embd),
        ("--n-layer", args.n_layer),
        ("--n-head", args.n_head),
        ("--n-ctx", args.n_ctx),
        ("--colors", args.colors),
        ("--batch", args.batch),
        ("--threads", threads),
        ("--repeats", if args.kind == Kind::Sample { 1 } else { 5 }),
    ] {
        command.arg(flag).arg(value.to_string());
    }
    answer(&program, command, "")
}

/// A script of `peers`.
fn torch(args: &Args, threads: usize, mode: &str) -> Result<Value> {
    let script = match args.kind {
        Kind::Train => TRAIN,
        Kind::Sample => SAMPLE,
        Kind::Forward => FORWARD,
    };
    let mut command = Command::new(&args.python);
    command.arg("-");
    for value in [args.n_embd, args.n_layer, args.n_head, args.n_ctx, args.colors, args.batch, threads] {
        command.arg(value.to_string());
    }
    command.arg(mode);
    answer(&args.python, command, script)
}

/// Runs a command with `input` and reads the JSON object in its last line.
pub(super) fn answer(program: &Path, mut command: Command, input: &str) -> Result<Value> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(Error::io(program))?;
    let mut stdin = child.stdin.take().expect("it was asked for");
    stdin.write_all(input.as_bytes()).map_err(Error::io(program))?;
    drop(stdin);
    let output = child.wait_with_output().map_err(Error::io(program))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let found = text.lines().last().and_then(|line| serde_json::from_str(line).ok());
    found.ok_or_else(|| {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.trim().lines().last().unwrap_or("it said nothing");
        Error::Invalid(format!("{}: no result: {last}", program.display()))
    })
}

fn figures(result: &Value) -> String {
    let number = |key: &str| result[key].as_f64().unwrap_or(f64::NAN);
    format!("{:.0} tokens/s, peak memory {:.2} GB", number("tokens_per_second"), number("peak_rss_bytes") / 1e9)
}

pub(super) fn median(results: &[Value], key: &str) -> f64 {
    let mut values: Vec<f64> = results.iter().filter_map(|result| result[key].as_f64()).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
