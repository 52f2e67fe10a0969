//! `igpt checkpoints`: which checkpoints a run has, and whether they are whole.

use std::path::{Path, PathBuf};

use igpt::train::{Checkpoint, Checkpoints};
use igpt::{Error, Result};
use serde_json::json;

use crate::output::{print_json, say};
use crate::shared::JsonArgs;

/// Flags of `igpt checkpoints`.
#[derive(clap::Args)]
#[command(after_help = "Example: igpt checkpoints runs/a\n\n\
                        Every file is read and compared with the checksum that it was written with. A run resumes from \
                        the newest whole one. Fails if one is damaged.")]
pub(crate) struct Args {
    /// Run directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
    #[command(flatten)]
    json: JsonArgs,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let checkpoints = Checkpoints::open_readonly(args.run.join("checkpoints"))?;
    let mut rows = Vec::new();
    let mut damaged = Vec::new();
    for step in checkpoints.steps()? {
        let path = checkpoints.path(step);
        let bytes = size(&path);
        let mut row = json!({"step": step, "path": path, "bytes": bytes});
        let said = match Checkpoint::read(&path) {
            Ok(Checkpoint { meta, .. }) => {
                row["whole"] = json!(true);
                row["best_step"] = json!(meta.best_step);
                row["elapsed_s"] = json!(meta.elapsed_s);
                format!("whole, {:.0} s of training, {} images seen", meta.elapsed_s, meta.images)
            }
            // A run that is under way has removed or replaced it meanwhile.
            Err(_) if !path.exists() => continue,
            Err(error) => {
                row["whole"] = json!(false);
                row["problem"] = json!(error.to_string());
                damaged.push(step);
                format!("DAMAGED: {error}")
            }
        };
        say!("step {step:>8}  {:>8.1} MB  {said}", bytes as f64 / 1e6);
        rows.push(row);
    }
    if rows.is_empty() {
        say!("no checkpoint in {} yet", args.run.display());
    }
    if args.json.json {
        print_json(&json!({"run": args.run, "checkpoints": rows, "damaged": damaged}))?;
    }
    match damaged.len() {
        0 => Ok(()),
        n => Err(Error::Invalid(format!("{n} of {} checkpoints are damaged: a resume passes over them", rows.len()))),
    }
}

/// Bytes of the files in a directory.
fn size(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len())).sum()
}
