//! The live page of a run that this process trains.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use igpt::{Error, Result};
use tokio::sync::watch;

use super::serve;
use crate::Access;

/// How long the trainer waits for its visitors to see the end.
const FAREWELL: Duration = Duration::from_millis(1500);
/// And for the server to close after that.
const CLOSING: Duration = Duration::from_millis(500);
/// Between two looks.
const GLANCE: Duration = Duration::from_millis(10);

/// The end of a training, as its page's visitors hear of it.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    over: watch::Sender<bool>,
    visitors: Arc<AtomicUsize>,
}

/// One who listens to the events, until dropped.
#[derive(Debug)]
pub(super) struct Visitor {
    over: watch::Receiver<bool>,
    visitors: Arc<AtomicUsize>,
}

impl Ending {
    /// Of a training that goes on.
    pub(super) fn new() -> Self {
        Self { over: watch::Sender::new(false), visitors: Arc::default() }
    }

    pub(super) fn visitor(&self) -> Visitor {
        self.visitors.fetch_add(1, Ordering::Relaxed);
        Visitor { over: self.over.subscribe(), visitors: self.visitors.clone() }
    }

    /// Tells all visitors that the training is over, and gives them a moment to take in the last of it and leave.
    fn tell(&self) {
        self.over.send_replace(true);
        let until = Instant::now() + FAREWELL;
        while self.visitors.load(Ordering::Relaxed) > 0 && Instant::now() < until {
            std::thread::sleep(GLANCE);
        }
    }
}

impl Visitor {
    pub(super) fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// Waits for some time, or less where the training is over before.
    pub(super) async fn wait(&mut self, time: Duration) {
        let over = async {
            if self.over.wait_for(|over| *over).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let _ = tokio::time::timeout(time, over).await;
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        self.visitors.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The page of a run that this process trains, on a thread of its own. When it is dropped its visitors are told how the
/// training ended, and then it closes; that takes two seconds at most, whatever its visitors or the disk do.
#[derive(Debug)]
pub struct LivePage {
    stop: Arc<AtomicBool>,
    ending: Ending,
    closed: Receiver<()>,
    address: SocketAddr,
}

impl LivePage {
    /// Shows the run in `run`.
    ///
    /// # Errors
    /// When the address is taken.
    pub fn start(run: &Path, access: Access) -> Result<Self> {
        let (stop, ending) = (Arc::new(AtomicBool::new(false)), Ending::new());
        let (tell, heard) = channel();
        let (close, closed) = channel();
        let (run, own, own_ending, ready) = (run.to_path_buf(), stop.clone(), ending.clone(), tell.clone());
        let serve = move || {
            if let Err(error) = serve(&run, access, own_ending, own, &mut |address| drop(ready.send(Ok(address)))) {
                let _ = tell.send(Err(error));
            }
            drop(close);
        };
        let thread = std::thread::Builder::new().name("igpt-page".into()).spawn(serve);
        thread.map_err(Error::io("the page's thread"))?;
        let address = heard.recv().map_err(|_| Error::Invalid("the page's thread ended at once".into()))??;
        Ok(Self { stop, ending, closed, address })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for LivePage {
    fn drop(&mut self) {
        self.ending.tell();
        self.stop.store(true, Ordering::Relaxed);
        // A disk that does not answer may hold the thread; it goes with the process.
        let closed = self.closed.recv_timeout(CLOSING);
        if closed == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the live page does not close: it is left behind");
        }
    }
}
