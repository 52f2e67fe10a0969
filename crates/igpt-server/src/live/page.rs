//! Live page of a run that this process trains.

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

/// Time for the server to close after its visitors were notified.
const CLOSING: Duration = Duration::from_millis(500);
/// Live page of a run that this process trains, served by a separate thread.
///
/// Dropping it notifies its visitors how the training ended, and then closes the server. That takes at most two
/// seconds, even if visitors or the disk do not respond.
#[derive(Debug)]
pub struct LivePage {
    stop: Arc<AtomicBool>,
    ending: Ending,
    closed: Receiver<()>,
    address: SocketAddr,
}

impl LivePage {
    /// Starts the live page of the run in the directory `run`.
    ///
    /// # Errors
    /// When the address is in use.
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

    /// Address of the page.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for LivePage {
    fn drop(&mut self) {
        self.ending.tell();
        self.stop.store(true, Ordering::Relaxed);
        // A disk that does not answer may block the thread; it then ends with the process.
        let closed = self.closed.recv_timeout(CLOSING);
        if closed == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the live page does not close: it is left behind");
        }
    }
}
