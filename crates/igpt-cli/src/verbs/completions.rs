//! `igpt completions SHELL`.

use clap::CommandFactory;

/// Flags of `igpt completions`.
#[derive(clap::Args)]
#[command(after_help = "Example: igpt completions bash > /etc/bash_completion.d/igpt")]
pub(crate) struct Args {
    /// The shell
    shell: clap_complete::Shell,
}

pub(crate) fn run(args: Args) -> igpt::Result<()> {
    clap_complete::generate(args.shell, &mut crate::Cli::command(), "igpt", &mut std::io::stdout());
    Ok(())
}
