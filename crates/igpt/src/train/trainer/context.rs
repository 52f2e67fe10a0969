//! Context of a run, beside its settings: ranks, observer, and stop flag.

use std::sync::atomic::AtomicBool;

use crate::ranks::Collective;
use crate::train::trainer::observer::{Event, Observer};

/// Context of a run: the ranks that train together, the observer of its events, and the flag that stops it.
pub struct Context<'a> {
    /// Ranks that train together: every process calls the same function with its own; [`Collective::solo`] for a single
    /// one.
    pub ranks: &'a mut Collective,
    /// Receiver of all events of the run.
    pub observer: &'a mut dyn Observer,
    /// Flag that another thread or a signal handler raises to save and stop; on any rank it stops all.
    pub stop: &'a AtomicBool,
}

impl Context<'_> {
    /// Reborrows the context, for a part of the work.
    pub fn reborrow(&mut self) -> Context<'_> {
        Context { ranks: self.ranks, observer: self.observer, stop: self.stop }
    }

    /// Reports to the observer which phase begins.
    pub(in crate::train) fn phase(&mut self, name: &str) {
        self.observer.event(Event::Phase(name));
    }
}
