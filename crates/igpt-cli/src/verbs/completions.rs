//! `igpt completions SHELL`.

use crate::output::put_bytes;

/// Flags of `igpt completions`.
#[derive(clap::Args)]
#[command(after_help = "Example: igpt completions bash > /etc/bash_completion.d/igpt")]
pub(crate) struct Args {
    /// The shell
    shell: clap_complete::Shell,
}

pub(crate) fn run(args: Args) -> igpt::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::help::command(), "igpt", &mut script);
    put_bytes(&script)
}
