//! The processes that `mpirun` has started, if it has: whether this program can be several, and who of them speaks.

use std::sync::Arc;
use std::time::Duration;

use igpt::Result;
use igpt::data::download::Hook;
use igpt::model::Precision;
use igpt::ranks::{Collective, expect_same_program};
use igpt::train::{Event, Observer};

use crate::progress::Progress;
use crate::signals::Signals;

/// Environment variables that count processes: OpenMPI's, and that of MPICH and its kin. A process that one of several
/// starts is not of them, and must not see these.
pub(crate) const COUNTS: [&str; 2] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"];

/// How many processes the environment says were started together, 1 without an `mpirun`.
fn started(variable: impl Fn(&str) -> Option<String>) -> usize {
    COUNTS.iter().filter_map(|name| variable(name)?.parse().ok()).max().unwrap_or(1)
}

/// Joins the other processes, if there are any.
#[cfg(feature = "mpi")]
fn join() -> Result<Collective> {
    match started(|name| std::env::var(name).ok()) {
        0 | 1 => Ok(Collective::solo()),
        _ => igpt_mpi::join(),
    }
}

#[cfg(not(feature = "mpi"))]
fn join() -> Result<Collective> {
    match started(|name| std::env::var(name).ok()) {
        0 | 1 => Ok(Collective::solo()),
        several => Err(igpt::Error::Invalid(format!(
            "mpirun started {several} processes, but this igpt was built without MPI: build it with \
             cargo build --release --features mpi (on Debian after apt install libopenmpi-dev libclang-dev), or start it \
             without mpirun"
        ))),
    }
}

/// Does `work` together with the other processes, if there are any. When it fails here, all of them end.
pub(crate) fn among<T>(work: impl FnOnce(&mut Collective) -> Result<T>) -> Result<T> {
    let mut ranks = join()?;
    match work(&mut ranks) {
        Ok(done) => ranks.close().map(|()| done),
        Err(error) if ranks.size() > 1 => {
            // What all have found rank 0 says.
            if !ranks.leads() {
                std::thread::sleep(Duration::from_secs(2));
            }
            ranks.abort(&error.to_string());
            Err(error)
        }
        Err(error) => Err(error),
    }
}

/// Refuses ranks of another program or with other values of these flags of `verb`, an object.
pub(crate) fn expect_same_command(
    ranks: &mut Collective,
    precision: Precision,
    verb: &str,
    flags: &serde_json::Value,
) -> Result<()> {
    let mut settings = vec![("command".to_owned(), verb.to_owned())];
    settings
        .extend(flags.as_object().into_iter().flatten().map(|(flag, value)| (format!("--{flag}"), value.to_string())));
    expect_same_program(ranks, precision, settings)
}

/// Does `work` on rank 0 alone.
pub(crate) fn led(work: impl FnOnce() -> Result<()>) -> Result<()> {
    among(|ranks| if ranks.leads() { work() } else { Ok(()) })
}

/// Follows a run's events, and shows them if this is rank 0.
pub(crate) struct Led {
    progress: Option<Progress>,
    signals: Signals,
}

impl Led {
    pub(crate) fn new(ranks: &Collective, signals: &Signals) -> Self {
        Self { progress: ranks.leads().then(Progress::new), signals: signals.clone() }
    }

    /// Takes the bar off the screen.
    pub(crate) fn finish(&mut self) {
        if let Some(progress) = &mut self.progress {
            progress.finish();
        }
    }
}

impl Observer for Led {
    fn download(&self) -> Option<Arc<Hook>> {
        self.progress.as_ref()?.download()
    }

    fn event(&mut self, event: Event<'_>) {
        self.signals.follow(&event);
        if let Some(progress) = &mut self.progress {
            progress.event(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_counted_by_the_launchers_variables() {
        let with = |set: &'static [(&str, &str)]| {
            started(move |name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string()))
        };
        assert_eq!(with(&[]), 1);
        assert_eq!(with(&[("OMPI_COMM_WORLD_SIZE", "4")]), 4);
        assert_eq!(with(&[("PMI_SIZE", "2")]), 2);
        assert_eq!(with(&[("PMI_SIZE", "1")]), 1);
    }
}
