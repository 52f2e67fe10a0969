//! What a signal does: it ends the program at once, or asks a training to save first.
//!
//! Until training begins nothing is lost by an end at once: files get their names when they are whole, and halves of
//! them are removed. While a run trains, the first signal raises a flag, and the run saves. A second SIGINT or SIGTERM
//! then ends it at once. SIGHUP (a closed terminal, a broken connection) and SIGUSR1 (which batch systems send before
//! their time is over, and which mpirun hands on) save too, but are never a second signal: terminals and service
//! managers send them along with others.
//!
//! SIGHUP that was ignored when the program started, by `nohup`, stays so. Only Linux tells that without `unsafe`, in
//! /proc/self/status; elsewhere SIGHUP is left to the system, which ends the program or, under `nohup`, does not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use igpt::train::Event;
use igpt::{Error, Result};

#[cfg(unix)]
use crate::output::say;

/// A signal again so soon is the same wish: `timeout` signals a process, then its group, and a key may bounce.
const SAME: Duration = Duration::from_millis(100);

/// What the program is at.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    /// Something that can be begun anew.
    Restartable,
    /// A run's steps.
    Training,
    /// What comes after them, in words.
    Finishing(String),
    /// Something that looks at the flag itself and soon ends in good order, such as a server.
    LeftToVerb,
}

/// What a signal leads to.
#[derive(Debug, PartialEq, Eq)]
enum Act {
    End,
    /// Raise the flag, and say these words.
    Ask(Option<String>),
    Nothing,
}

/// Listens to the signals that ask the program to end.
#[derive(Clone, Debug)]
pub(crate) struct Signals(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    stop: Arc<AtomicBool>,
    stage: Mutex<Stage>,
    /// Whether the next signal ends the program, where handlers decide by themselves.
    #[cfg(not(unix))]
    ends: Arc<AtomicBool>,
}

impl Signals {
    /// From now on.
    ///
    /// # Errors
    /// When the system has no room for a handler or a thread.
    pub(crate) fn heed() -> Result<Self> {
        let signals = Self(Arc::new(Shared {
            stop: Arc::default(),
            stage: Mutex::new(Stage::Restartable),
            #[cfg(not(unix))]
            ends: Arc::new(AtomicBool::new(true)),
        }));
        signals.listen().map_err(Error::io("signal handler"))?;
        Ok(signals)
    }

    /// Raised when a run shall save and stop.
    pub(crate) fn stop(&self) -> &AtomicBool {
        &self.0.stop
    }

    /// Follows a run from its events: what a signal does depends on whether there is something to save.
    pub(crate) fn follow(&self, event: &Event<'_>) {
        match event {
            Event::Phase(_) => self.enter(Stage::Restartable),
            Event::Started(_) => self.enter(Stage::Training),
            Event::Finishing(text) => self.enter(Stage::Finishing((*text).into())),
            _ => {}
        }
    }

    /// The run is saved.
    pub(crate) fn run_is_over(&self) {
        self.enter(Stage::Restartable);
    }

    /// From now on the verb itself looks at this flag, and ends in good order when it is raised.
    pub(crate) fn left_to_verb(&self) -> Arc<AtomicBool> {
        self.enter(Stage::LeftToVerb);
        self.0.stop.clone()
    }

    fn enter(&self, stage: Stage) {
        #[cfg(not(unix))]
        self.0.ends.store(stage == Stage::Restartable || self.0.stop.load(Ordering::Relaxed), Ordering::Relaxed);
        *self.0.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    #[cfg(unix)]
    fn listen(&self) -> std::io::Result<()> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
        let mut heeded = vec![SIGINT, SIGTERM, SIGUSR1];
        if is_hangup_ours() {
            heeded.push(SIGHUP);
        }
        let mut signals = signal_hook::iterator::Signals::new(heeded)?;
        let shared = self.0.clone();
        let work = move || {
            let mut asked = None;
            for signal in signals.forever() {
                shared.take(signal, &mut asked);
            }
        };
        std::thread::Builder::new().name("igpt-signals".into()).spawn(work).map(|_| ())
    }

    #[cfg(not(unix))]
    fn listen(&self) -> std::io::Result<()> {
        use signal_hook::consts::{SIGINT, SIGTERM};
        for signal in [SIGINT, SIGTERM] {
            let Shared { stop, ends, .. } = &*self.0;
            signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, ends.clone())?;
            signal_hook::flag::register(signal, stop.clone())?;
            signal_hook::flag::register(signal, ends.clone())?;
        }
        Ok(())
    }
}

#[cfg(unix)]
impl Shared {
    /// Does what `signal` asks for; `asked` is when the flag was raised.
    fn take(&self, signal: i32, asked: &mut Option<Instant>) {
        let stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match act(&stage, signal, asked.map(|asked| asked.elapsed())) {
            Act::Nothing => {}
            Act::Ask(words) => {
                *asked = Some(Instant::now());
                self.stop.store(true, Ordering::Relaxed);
                if let Some(words) = words {
                    // Nobody may be reading, and the next signal must not wait for that.
                    let _ = std::thread::Builder::new().spawn(move || say!("{words}"));
                }
            }
            Act::End => {
                igpt::files::remove_unfinished();
                // Shells and batch systems see that it was a signal.
                let _ = signal_hook::low_level::emulate_default_handler(signal);
                std::process::exit(128 + signal);
            }
        }
    }
}

/// What `signal` leads to, `since` the flag was raised if it was.
#[cfg(unix)]
fn act(stage: &Stage, signal: i32, since: Option<Duration>) -> Act {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let insists = signal == SIGINT || signal == SIGTERM;
    match (stage, since) {
        (Stage::Restartable, _) => Act::End,
        (_, Some(since)) if insists && since >= SAME => Act::End,
        (_, Some(_)) => Act::Nothing,
        (Stage::Training, None) => Act::Ask(Some(
            "stopping: checkpoint and model are saved first; a second signal ends at once and loses what is not saved"
                .into(),
        )),
        (Stage::Finishing(what), None) => {
            Act::Ask(Some(format!("stopping after this: {what}; a second signal ends at once and loses it")))
        }
        (Stage::LeftToVerb, None) => Act::Ask(None),
    }
}

/// Whether SIGHUP is known not to be ignored.
#[cfg(unix)]
fn is_hangup_ours() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores_hangup(&status) == Some(false))
}

/// Whether the process of this /proc/PID/status ignores SIGHUP.
#[cfg(unix)]
fn ignores_hangup(status: &str) -> Option<bool> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    let mask = u64::from_str_radix(mask.trim(), 16).ok()?;
    Some(mask >> (signal_hook::consts::SIGHUP - 1) & 1 == 1)
}

#[cfg(all(test, unix))]
mod tests {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};

    use super::*;

    #[test]
    fn only_a_training_is_asked_and_only_interrupts_and_terminations_insist() {
        let later = Some(SAME);
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGUSR1] {
            assert_eq!(act(&Stage::Restartable, signal, None), Act::End);
            assert_eq!(act(&Stage::Restartable, signal, Some(Duration::ZERO)), Act::End);
            assert!(matches!(act(&Stage::Training, signal, None), Act::Ask(Some(_))));
            assert_eq!(act(&Stage::Training, signal, Some(Duration::ZERO)), Act::Nothing);
            assert_eq!(act(&Stage::LeftToVerb, signal, None), Act::Ask(None));
        }
        let Act::Ask(Some(words)) = act(&Stage::Finishing("saving the model".into()), SIGHUP, None) else { panic!() };
        assert!(words.contains("saving the model"));
        for (signal, act_then) in
            [(SIGINT, Act::End), (SIGTERM, Act::End), (SIGHUP, Act::Nothing), (SIGUSR1, Act::Nothing)]
        {
            assert_eq!(act(&Stage::Training, signal, later), act_then);
        }
    }

    #[test]
    fn nohup_is_seen_in_the_mask_of_ignored_signals() {
        assert_eq!(ignores_hangup("Name:\tigpt\nSigIgn:\t0000000000001001\n"), Some(true));
        assert_eq!(ignores_hangup("Name:\tigpt\nSigIgn:\t0000000000001000\n"), Some(false));
        assert_eq!(ignores_hangup("Name:\tigpt\n"), None);
    }
}
