//! `igpt inspect`: which pictures are odd, at a rate of false alarms that is asked for.

mod fit;
mod run;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use igpt::Result;
use igpt::model::ModelDir;

use crate::model_args::expect_autoregressive;

/// Flags of `igpt inspect`.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  igpt pretrain --data photos/good --out runs/parts\n  \
                        igpt inspect fit --model runs/parts --data photos/good\n  \
                        igpt inspect run --model runs/parts photos/new --out judged\n\n\
                        docs/odd-images.md leads from a folder of good pictures to a judged one.")]
pub(crate) struct Args {
    #[command(subcommand)]
    work: Work,
}

#[derive(Subcommand)]
enum Work {
    /// Fit a reference and a threshold to good pictures, and keep both with the model
    Fit(fit::Args),
    /// Judge pictures: a score, a map of where they are odd, and whether they are
    Run(run::Args),
}

pub(crate) fn run(args: Args) -> Result<()> {
    match args.work {
        Work::Fit(args) => fit::run(&args),
        Work::Run(args) => run::run(&args),
    }
}

/// The model in the model directory or finished run at `path`, and the directory.
///
/// # Errors
/// When there is none, or it gives pictures no likelihood.
fn open(path: &Path) -> Result<(ModelDir, PathBuf)> {
    let dir = ModelDir::locate(path)?;
    let model = ModelDir::open(&dir)?;
    expect_autoregressive(&model, &path.display().to_string())?;
    Ok((model, dir))
}
