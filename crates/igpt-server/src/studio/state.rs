//! Shared state of all handlers, and the resources that a request holds until it is over.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use igpt::device::Engine;
use igpt::text::printable;

use super::decoding::Decoding;
use super::metrics::{Metrics, Open};
use super::model::Served;
use super::options::ServerLimits;
use super::worker::{Busy, Worker};
use crate::access::Access;
use crate::refusal::{Refusal, log};

/// Shared state of all handlers.
#[derive(Clone)]
pub(super) struct Shared(Arc<Inner>);

pub(super) struct Inner {
    pub(super) served: Served,
    pub(super) worker: Worker,
    pub(super) limits: ServerLimits,
    pub(super) metrics: Metrics,
    pub(super) decoding: Decoding,
    pub(super) access: Arc<Access>,
    clients: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Deref for Shared {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Shared {
    pub(super) fn new(served: Served, worker: Worker, access: Arc<Access>, limits: ServerLimits) -> Self {
        let (metrics, decoding, clients) = (Metrics::new(), Decoding::new(limits.queue), Arc::default());
        Self(Arc::new(Inner { served, worker, limits, metrics, decoding, access, clients }))
    }

    /// Deadline for the answer to a request that was received now.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + Duration::from_secs(self.limits.seconds)
    }

    /// Refusal of a request whose deadline has passed.
    pub(super) fn late(&self) -> Refusal {
        let seconds = self.limits.seconds;
        let error = format!("not finished within {seconds} s, the most that a request may take here: ask for less");
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error)
    }

    /// Refusal after an engine error: the request was found possible before, so the client is not at fault.
    fn failed(&self, index: Option<usize>, error: igpt::Error) -> Refusal {
        match error {
            // Errors about files contain paths.
            igpt::Error::Io { .. } | igpt::Error::Format { .. } => Refusal::failed(&error),
            error => self.not_computed(index, &error.to_string()),
        }
    }

    /// Like [`Shared::failed`], with the problem as text.
    pub(super) fn not_computed(&self, index: Option<usize>, problem: &str) -> Refusal {
        let about = index.map_or(String::new(), |index| format!(" about image {index} of the request"));
        let problem = format!("the model {} has no answer{about}: {problem}", self.served.name);
        log(&problem);
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, printable(&problem))
    }

    /// Runs `work` with the engine when it is its turn, and returns its result; `index` is the index in the request of
    /// the image concerned.
    pub(super) async fn pass<T: Send + 'static>(
        &self,
        deadline: Instant,
        index: Option<usize>,
        work: impl FnOnce(&mut dyn Engine) -> igpt::Result<T> + Send + 'static,
    ) -> Result<T, Refusal> {
        let done = tokio::time::timeout_at(deadline.into(), self.worker.pass(work)).await.map_err(|_| self.late())?;
        done?.map_err(|error| self.failed(index, error))
    }
}

impl Refusal {
    /// Refusal because the engine's thread is gone.
    pub(super) fn dead() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the engine has stopped: start the server again")
    }
}

impl From<Busy> for Refusal {
    fn from(busy: Busy) -> Self {
        match busy {
            Busy::Full => Self::new(StatusCode::SERVICE_UNAVAILABLE, "too much is waiting here: ask again in a moment"),
            Busy::Dead => Self::dead(),
        }
    }
}

/// Resources that a request holds until it is over, including its stream.
pub(super) struct Slot {
    _open: Open,
    _turn: Option<Turn>,
}

impl Slot {
    /// Reserves one more request of a client; `None` if the client has reached its limit.
    pub(super) fn take(shared: &Shared, client: IpAddr) -> Option<Self> {
        let turn = match shared.limits.per_client {
            0 => None,
            _ => Some(Turn::take(shared, client)?),
        };
        Some(Self { _open: shared.metrics.opened(), _turn: turn })
    }
}

/// One of the simultaneous requests that a client may have.
struct Turn {
    client: IpAddr,
    clients: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Turn {
    fn take(shared: &Inner, client: IpAddr) -> Option<Self> {
        let clients = shared.clients.clone();
        let mut counts = clients.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(client).or_default();
        if *count >= shared.limits.per_client {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Self { client, clients })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut counts = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.client);
            }
        }
    }
}
