//! `igpt plan`: what a run will take in memory, time and disk, before it is begun.

use std::time::Duration;

use igpt::machine::format_bytes;
use igpt::train::{self, Forecast, Overrides};
use igpt::{Error, Result};

use super::run_args::SettingsArgs;
use crate::output::{print_json, say};
use crate::progress::Progress;
use crate::shared::JsonArgs;

/// Flags of `igpt plan`.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  igpt plan --preset tiny --data fashion-mnist --epochs 10\n  \
                        igpt plan --config runs/a/config.resolved.toml --preset s --json\n\n\
                        Opens the data, fits the palette and trains for ten seconds; writes nothing. What does not fit into the memory \
                        that is left is not tried: the setting that mends it is named, and the exit code is 1.")]
pub(crate) struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Seconds of the measurement
    #[arg(long, value_name = "S", default_value_t = 10.0, value_parser = positive)]
    seconds: f64,
    #[command(flatten)]
    json: JsonArgs,
}

fn positive(text: &str) -> Result<f64, String> {
    let seconds = text.parse().map_err(|_| format!("{text} is no number"))?;
    if seconds > 0.0 && seconds < 1e6 { Ok(seconds) } else { Err("a time above 0 is needed".into()) }
}

pub(crate) fn run(args: Args) -> Result<()> {
    let config = args.settings.layers(Overrides::default())?.finish()?;
    let mut progress = Progress::new();
    let found = train::forecast(&config, Duration::from_secs_f64(args.seconds), &mut progress);
    progress.finish();
    let found = found?;
    tell(&found);
    if args.json.json {
        print_json(&serde_json::json!(found))?;
    }
    match found.problem {
        Some(problem) => Err(Error::Invalid(problem)),
        None => Ok(()),
    }
}

fn tell(found: &Forecast) {
    let Forecast { network, memory_bytes: memory, .. } = found;
    say!(
        "{} parameters: {} blocks of width {}, {} heads, {} images, {} colours; {} training images, {} a step; on {}",
        found.parameters,
        network.n_layer,
        network.n_embd,
        network.n_head,
        network.n_px,
        network.n_vocab,
        found.images,
        found.batch,
        found.device
    );
    let engine = &memory.engine;
    let weights = if engine.ema > 0 { "weights and their EMA" } else { "weights" };
    let again = if found.recompute { "activations, computed again" } else { "activations" };
    let parts = [
        (weights, engine.weights + engine.ema),
        ("packed weights", engine.packed),
        ("gradients", engine.gradients + engine.groups),
        ("moments", engine.moments),
        (again, engine.activations),
        ("threads", engine.scratch),
        ("drawing or saving", memory.cache),
        ("program and data", memory.data),
        ("memory in all", memory.total),
    ];
    for (name, bytes) in parts {
        say!("{name:<28} {:>12}", format_bytes(bytes));
    }
    if let Some(left) = found.memory_left {
        say!("{:<28} {:>12}", "left on this machine", format_bytes(left));
    }
    say!(
        "{:<28} {:>12}   at most {} at once",
        "a checkpoint",
        format_bytes(found.checkpoint_bytes),
        format_bytes(found.checkpoints_bytes)
    );
    say!("{:<28} {:>12}", "the images as tokens", format_bytes(found.token_bytes));
    if let Some(preset) = found.largest_preset {
        say!("{:<28} {:>12}", "largest preset that fits", preset.name());
    }
    if let Some(speed) = found.tokens_per_second {
        say!("{:<28} {speed:>12.0} tokens/s", "training");
    }
    match (found.steps, found.seconds) {
        (Some(steps), Some(seconds)) => say!("{:<28} {:>12}   {steps} steps", "time to finish", time(seconds)),
        _ => say!("time to finish: not known without --steps, --epochs or --minutes"),
    }
}

fn time(seconds: f64) -> String {
    let minutes = (seconds / 60.0).floor();
    match seconds {
        ..60.0 => format!("{seconds:.0} s"),
        60.0..3600.0 => format!("{minutes:.0}:{:02.0} min", (seconds % 60.0).floor()),
        _ => format!("{:.0} h {:.0} min", (minutes / 60.0).floor(), minutes % 60.0),
    }
}
