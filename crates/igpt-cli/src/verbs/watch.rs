//! `igpt watch`: the live page of a run that is under way, or over.

use std::path::PathBuf;

use igpt::{Error, Result};

use super::page_args::{AccessArgs, LIVE};
use crate::output::say;
use crate::signals::Signals;

/// Flags of `igpt watch`.
#[derive(clap::Args)]
#[command(after_help = "Example: igpt watch runs/fashion\n\n\
                        Another process may train in the directory, stop and go on; the page follows. Ctrl-C closes it.")]
pub(crate) struct Args {
    /// Run directory
    #[arg(value_name = "RUN", env = "IGPT_RUN")]
    run: PathBuf,
    /// Where to listen
    #[arg(long, value_name = "ADDR", env = "IGPT_LISTEN", default_value = LIVE)]
    listen: String,
    #[command(flatten)]
    access: AccessArgs,
}

pub(crate) fn run(args: Args, signals: &Signals) -> Result<()> {
    if !args.run.is_dir() {
        let run = args.run.display();
        return Err(Error::NotFound(format!("{run} is no directory: give the --out of an igpt pretrain or finetune")));
    }
    let stop = signals.left_to_verb();
    let mut ready = |address| say!("{} is shown at http://{address}; Ctrl-C closes the page", args.run.display());
    igpt_server::watch(&args.run, args.access.at(&args.listen)?, stop, &mut ready)
}
