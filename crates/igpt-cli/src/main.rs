//! The program `igpt`.

use std::process::ExitCode;

fn main() -> ExitCode {
    igpt_cli::run()
}
