//! The end of all ranks at once.

use std::io::Write;
use std::time::Duration;

use mpi::topology::SimpleCommunicator;
use mpi::traits::Communicator;

/// For the reason of an end to reach the user.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Says why, and ends all ranks.
pub(crate) fn end_all(world: &SimpleCommunicator, message: &str) {
    // Whoever reads may be gone; the end comes all the same.
    let _ = writeln!(std::io::stderr(), "igpt: {message}");
    // MPICH's mpirun passes on nothing more once it knows of the end.
    std::thread::sleep(LAST_WORDS);
    world.abort(1);
}
