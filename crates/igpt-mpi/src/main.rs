//! The program `igpt` for several processes, which `mpirun` starts.

use std::process::ExitCode;

fn main() -> ExitCode {
    igpt_cli::run_with(Some(igpt_mpi::join))
}
