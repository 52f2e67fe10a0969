//! What a run has from whoever starts it, beside its settings.

use std::sync::atomic::AtomicBool;

use crate::ranks::Collective;
use crate::train::trainer::observer::{Event, Observer};

/// The processes that train together, who hears of it, and what stops it.
pub struct Context<'a> {
    /// Every process calls the same function with its own; a single one is [`Collective::solo`].
    pub ranks: &'a mut Collective,
    /// Told about everything.
    pub observer: &'a mut dyn Observer,
    /// Raised from outside, by another thread or a signal, to save and stop; on any rank it stops all.
    pub stop: &'a AtomicBool,
}

impl Context<'_> {
    /// The same, for a part of the work.
    pub fn part(&mut self) -> Context<'_> {
        Context { ranks: self.ranks, observer: self.observer, stop: self.stop }
    }

    /// Tells the observer which phase begins.
    pub(in crate::train) fn phase(&mut self, name: &str) {
        self.observer.event(Event::Phase(name));
    }
}
