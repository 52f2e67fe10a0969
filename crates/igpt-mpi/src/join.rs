//! How a process becomes one of the ranks.

use std::env;
use std::io::Write;
use std::time::Duration;

use igpt::ranks::Collective;
use igpt::{Error, Result};

use crate::transport::Mpi;

/// Seconds without a sign of life after which a rank counts as lost, where [`TIMEOUT`] doesn't say.
const USUAL_TIMEOUT: u64 = 60;
/// The environment variable that sets these seconds.
const TIMEOUT: &str = "IGPT_MPI_TIMEOUT";

/// Joins the other processes that `mpirun` has started. A panic of this process then ends all of them. Once in a
/// process.
///
/// # Errors
/// When their number is not a power of two, when the environment's timeout is no number of seconds, and when MPI can't
/// be initialised.
pub fn join() -> Result<Collective> {
    let timeout = timeout(env::var(TIMEOUT).ok().as_deref())?;
    let ranks = Collective::join(move || Mpi::open(timeout))?;
    let name = ranks.name(ranks.rank());
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // Words without a reader are no reason to panic within a panic.
        let _ = writeln!(std::io::stderr(), "igpt: {name} can't go on:");
        usual(panic);
    }));
    Ok(ranks)
}

fn timeout(said: Option<&str>) -> Result<Duration> {
    let seconds = said.map_or(Ok(USUAL_TIMEOUT), str::parse);
    match seconds {
        Ok(seconds @ 1..) => Ok(Duration::from_secs(seconds)),
        _ => Err(Error::Invalid(format!(
            "{TIMEOUT} is {}, but must be a whole number of seconds, at least 1",
            said.unwrap_or_default()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_is_a_minute_or_what_the_environment_says() {
        assert_eq!(timeout(None).unwrap(), Duration::from_secs(60));
        assert_eq!(timeout(Some("7")).unwrap(), Duration::from_secs(7));
        for wrong in ["0", "-1", "soon", ""] {
            assert!(timeout(Some(wrong)).unwrap_err().to_string().contains("IGPT_MPI_TIMEOUT"), "{wrong}");
        }
    }
}
