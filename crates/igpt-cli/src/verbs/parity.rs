//! `igpt parity`: whether igpt computes what transformers computed from the same model directory.

use std::path::PathBuf;

use igpt::device::Precision;
use igpt::evaluate::ReferenceRecording;
use igpt::model::PARITY_RECORDING;
use igpt::model::{ModelDir, Objective};
use igpt::{Error, Result};
use serde_json::json;

use crate::model_args::EngineArgs;
use crate::output::{print_json, say};
use crate::shared::JsonArgs;

/// Flags of `igpt parity`.
#[derive(clap::Args)]
#[command(after_help = "Example: python scripts/record_parity.py runs/a/model && igpt parity runs/a")]
pub(crate) struct Args {
    /// A model directory with a parity.safetensors, or a run directory
    dir: PathBuf,
    /// The largest error to accept, as a share of the largest recorded value
    #[arg(long, default_value_t = 1e-4)]
    tolerance: f64,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    json: JsonArgs,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let dir = ModelDir::locate(&args.dir)?;
    let model = ModelDir::open(&dir)?;
    if model.config.objective == Objective::Masked {
        let dir = dir.display();
        return Err(Error::Mismatch(format!(
            "{dir} was trained on masked pixels: transformers' ImageGPT always has a causal mask and can't compute it"
        )));
    }
    let recording = ReferenceRecording::open(&dir.join(PARITY_RECORDING), &model)?;
    let mut model = args.engine.open(model, Precision::F32, None)?;
    let parity = recording.compare(model.parts().2)?;
    let worst = parity.worst();
    let passed = worst <= args.tolerance;
    for (name, difference) in parity.parts() {
        say!(
            "{name:<12} largest error {:.2e}, {:.2e} of the largest value",
            difference.largest_error,
            difference.relative_error
        );
    }
    if args.json.json {
        let mut value = json!(parity);
        value["tolerance"] = json!(args.tolerance);
        value["passed"] = json!(passed);
        print_json(&value)?;
    }
    if passed {
        Ok(())
    } else {
        let (dir, tolerance) = (dir.display(), args.tolerance);
        Err(Error::Mismatch(format!(
            "{dir}: off by {worst:.1e} from what transformers recorded, more than {tolerance:.1e}"
        )))
    }
}
