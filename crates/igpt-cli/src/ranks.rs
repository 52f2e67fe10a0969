//! The processes that `mpirun` has started, if it has: whether this program can be several, and who of them speaks.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use igpt::data::DownloadHook;
use igpt::device::Device;
use igpt::ranks::{Collective, expect_same_program};
use igpt::train::{Event, Observer};
use igpt::{Error, Result};

use crate::progress::Progress;
use crate::signals::Signals;

/// Says that this process is one of its own, whatever else the environment says of others.
pub(crate) const ALONE: &str = "IGPT_RANKS";

/// Environment variables by which launchers count the processes that they start together: those of Open MPI, MPICH and its
/// kin, MVAPICH, IBM's jsrun, Flux.
const COUNTS: [&str; 7] = [
    "OMPI_COMM_WORLD_SIZE",
    "PMI_SIZE",
    "MV2_COMM_WORLD_SIZE",
    "MPI_LOCALNRANKS",
    "JSM_NAMESPACE_SIZE",
    "FLUX_JOB_SIZE",
    SLURM_STEP,
];
/// Tasks of an srun, set in each of them.
const SLURM_STEP: &str = "SLURM_STEP_NUM_TASKS";
/// Environment variables that number them.
const RANKS: [&str; 9] = [
    "OMPI_COMM_WORLD_RANK",
    "PMI_RANK",
    "PMIX_RANK",
    "PALS_RANKID",
    "MV2_COMM_WORLD_RANK",
    "JSM_NAMESPACE_RANK",
    "FLUX_TASK_RANK",
    "SLURM_PROCID",
    "MPI_LOCALRANKID",
];
/// Those of them that only a process of a launcher has: without a count it is not known to be alone.
const LAUNCHED: [&str; 2] = ["PMIX_RANK", "PALS_RANKID"];
/// Numbers from here on are no step of an srun but a job's batch script, its shell and the like.
const FIRST_SPECIAL_STEP: u32 = 0xffff_fff0;

/// What the environment says of processes that were started together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Started {
    /// This is the only one.
    Alone,
    /// There are others, by this variable.
    Several(&'static str),
}

/// What the environment says of processes that were started together.
///
/// # Errors
/// When `IGPT_RANKS` is something else than 1.
fn started(variable: impl Fn(&str) -> Option<String>) -> Result<Started> {
    match variable(ALONE).as_deref().map(str::trim) {
        None | Some("") => {}
        Some("1") => return Ok(Started::Alone),
        Some(other) => {
            return Err(Error::Invalid(format!(
                "{ALONE} is {other}, but can only be 1: this process is one of its own (leave the number of several to mpirun)"
            )));
        }
    }
    let number = |name: &str| variable(name)?.trim().parse::<u64>().ok();
    let counted = || COUNTS.into_iter().filter_map(|name| Some((name, number(name)?)));
    let ranked = RANKS.into_iter().find(|name| number(name).is_some_and(|rank| rank > 0));
    if let Some(name) = counted().find(|(_, count)| *count > 1).map(|(name, _)| name).or(ranked) {
        return Ok(Started::Several(name));
    }
    // A batch script of Slurm runs once, though the number of the job's tasks is set there too. Within srun the step is
    // numbered, and outside of any job the number must have been meant.
    let is_step = match ["SLURM_STEP_ID", "SLURM_STEPID"].into_iter().find_map(&variable) {
        Some(step) => step.trim().parse().is_ok_and(|step: u32| step < FIRST_SPECIAL_STEP),
        None => ["SLURM_JOB_ID", "SLURM_JOBID"].into_iter().all(|name| variable(name).is_none()),
    };
    let tasks = ["SLURM_NTASKS", "SLURM_NPROCS"].into_iter().find(|name| number(name).is_some_and(|count| count > 1));
    if let Some(name) = tasks.filter(|_| is_step && number(SLURM_STEP).is_none()) {
        return Ok(Started::Several(name));
    }
    // A launcher's process of which nothing says how many there are may be one of several.
    let launched = LAUNCHED.into_iter().find(|name| variable(name).is_some());
    Ok(match launched.filter(|_| counted().next().is_none()) {
        Some(name) => Started::Several(name),
        None => Started::Alone,
    })
}

fn by_environment() -> Result<Started> {
    started(|name| std::env::var(name).ok())
}

/// Joins the processes that a launcher has started.
pub type Join = fn() -> Result<Collective>;

/// How this program does that, if it can.
static JOIN: OnceLock<Join> = OnceLock::new();

/// Says how this program joins processes.
pub(crate) fn join_by(join: Option<Join>) {
    if let Some(join) = join {
        JOIN.get_or_init(|| join);
    }
}

/// Joins the other processes, if there are any.
fn join() -> Result<Collective> {
    let Started::Several(name) = by_environment()? else { return Ok(Collective::solo()) };
    let Some(join) = JOIN.get() else { return Err(no_mpi(name)) };
    let ranks = join()?;
    let counted = std::env::var(name).ok().and_then(|count| count.trim().parse::<usize>().ok());
    // Each would train the whole run by itself, and all would write it into one directory.
    if ranks.size() == 1 && (counted.is_none() || !LAUNCHED.contains(&name)) {
        return Err(Error::Invalid(format!(
            "several processes were started ({name} is set), but MPI knows of this one only: start them with the mpirun of the \
             MPI library that igpt was built with, or set {ALONE}=1 if each is meant to be a run of its own"
        )));
    }
    Ok(ranks)
}

fn no_mpi(name: &str) -> Error {
    Error::Invalid(format!(
        "several processes were started together ({name} is {}), as by mpirun or srun, but this is the igpt without MPI: start \
         igpt-mpi instead, which cargo build --release -p igpt-mpi makes (on Debian after apt install libopenmpi-dev \
         libclang-dev), start a single process, or set {ALONE}=1 if each is meant to be a run of its own",
        std::env::var(name).unwrap_or_default()
    ))
}

/// Does `work` together with the other processes, if there are any. When it fails here, all of them end.
pub(crate) fn among<T>(work: impl FnOnce(&mut Collective) -> Result<T>) -> Result<T> {
    let mut ranks = join()?;
    match work(&mut ranks) {
        Ok(done) => ranks.close().map(|()| done),
        Err(error) if ranks.size() > 1 => {
            // What all have found rank 0 says.
            if !ranks.is_leader() {
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
    device: Device,
    verb: &str,
    flags: &serde_json::Value,
) -> Result<()> {
    let mut settings = vec![("command".to_owned(), verb.to_owned())];
    settings
        .extend(flags.as_object().into_iter().flatten().map(|(flag, value)| (format!("--{flag}"), value.to_string())));
    expect_same_program(ranks, device, settings)
}

/// Does `work` on rank 0 alone.
pub(crate) fn led(work: impl FnOnce() -> Result<()>) -> Result<()> {
    among(|ranks| if ranks.is_leader() { work() } else { Ok(()) })
}

/// Follows a run's events, and shows them if this is rank 0.
pub(crate) struct RankZeroObserver {
    progress: Option<Progress>,
    signals: Signals,
}

impl RankZeroObserver {
    pub(crate) fn new(ranks: &Collective, signals: &Signals) -> Self {
        Self { progress: ranks.is_leader().then(Progress::new), signals: signals.clone() }
    }

    /// Takes the bar off the screen.
    pub(crate) fn finish(&mut self) {
        if let Some(progress) = &mut self.progress {
            progress.finish();
        }
    }
}

impl Observer for RankZeroObserver {
    fn download(&self) -> Option<Arc<DownloadHook>> {
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

    /// What the variables in `set`, `NAME=VALUE`, say.
    fn with(set: &[&str]) -> Started {
        let value =
            |name: &str| set.iter().find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).map(String::from);
        started(value).unwrap()
    }

    #[test]
    fn several_processes_are_known_by_the_variables_of_every_launcher() {
        for name in COUNTS {
            let (two, one) = (format!("{name}=2"), format!("{name}=1"));
            assert_eq!((with(&[&two]), with(&[&one])), (Started::Several(name), Started::Alone));
            // Whoever starts one process only may still number it.
            assert_eq!(with(&[&one, "PMIX_RANK=0", "SLURM_PROCID=0"]), Started::Alone);
            assert_eq!(with(&[&two, "IGPT_RANKS=1"]), Started::Alone);
        }
        for name in RANKS {
            assert_eq!(with(&[&format!("{name}=1")]), Started::Several(name));
        }
        assert_eq!(with(&["PMIX_RANK=0"]), Started::Several("PMIX_RANK"));
        assert_eq!(with(&["PALS_RANKID=0"]), Started::Several("PALS_RANKID"));
        assert_eq!(with(&[]), Started::Alone);
    }

    #[test]
    fn a_batch_script_of_slurm_is_one_process_and_the_tasks_of_an_srun_are_several() {
        let job = ["SLURM_JOB_ID=7", "SLURM_NTASKS=4", "SLURM_PROCID=0"];
        assert_eq!(with(&job), Started::Alone);
        for step in ["batch", "interactive", "4294967291", "4294967290"] {
            assert_eq!(with(&[&job[..], &[&format!("SLURM_STEP_ID={step}")]].concat()), Started::Alone, "{step}");
        }
        assert_eq!(with(&[&job[..], &["SLURM_STEP_ID=0"]].concat()), Started::Several("SLURM_NTASKS"));
        // One srun -n 1 of a job of four tasks, and one of them all.
        let srun = |tasks: &str| with(&[&job[..], &["SLURM_STEP_ID=0", &format!("{SLURM_STEP}={tasks}")]].concat());
        assert_eq!((srun("1"), srun("4")), (Started::Alone, Started::Several(SLURM_STEP)));
        // Nothing says that this is a batch script.
        assert_eq!(with(&["SLURM_NTASKS=4"]), Started::Several("SLURM_NTASKS"));
    }

    #[test]
    fn independent_processes_are_one_each_and_no_other_number_is_taken() {
        assert_eq!(with(&["PMIX_RANK=3", "SLURM_NTASKS=8", "IGPT_RANKS=1"]), Started::Alone);
        let wrong = started(|name| (name == ALONE).then(|| "2".into())).unwrap_err().to_string();
        assert!(wrong.contains("IGPT_RANKS is 2"), "{wrong}");
    }
}
