//! `igpt data`: what is done with images before a model sees them.

mod check;
mod tokenize;

use clap::Subcommand;
use igpt::Result;

/// Flags of `igpt data`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    work: Work,
}

#[derive(Subcommand)]
enum Work {
    /// Turn images into token files, for sets that are larger than memory or slow to decode
    Tokenize(tokenize::Args),
    /// Look for damaged images, duplicates, and test images among those of training
    Check(check::Args),
}

pub(crate) fn run(args: Args) -> Result<()> {
    match args.work {
        Work::Tokenize(args) => tokenize::run(&args),
        Work::Check(args) => check::run(&args),
    }
}
