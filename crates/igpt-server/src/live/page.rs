//! The live page of a run that this process trains.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use igpt::{Error, Result};

use super::ending::Ending;
use super::serve::serve;
use crate::access::Access;

/// How long the server has to close once its visitors were told.
const CLOSING: Duration = Duration::from_millis(500);
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
