//! The live page of a training run, made of the run directory's files alone: so it shows a run of this process, of
//! another one, or one that is over, and outlives the trainer.

mod baselines;
mod curves;
mod feed;
mod snapshot;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::{Router, middleware};
use igpt::{Error, Result};

use self::feed::Watched;
use crate::connections::{self, Patience};
use crate::{Access, assets, http};

/// Open pages would stay for ever when the server is told to stop.
const PATIENCE: Patience = Patience { client: Duration::from_secs(60), grace: Duration::from_millis(200) };

/// Shows the run in `run` until `stop` is raised; it may not have begun yet. `ready` is told the address.
///
/// # Errors
/// When the address is taken.
pub fn watch(run: &Path, access: Access, stop: Arc<AtomicBool>, ready: &mut dyn FnMut(SocketAddr)) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Error::io(PathBuf::from("the page's thread")))?;
    let listen = access.listen();
    let router = http::finish(router(Watched::new(run), access));
    let served = runtime.block_on(connections::serve(router, listen, stop, PATIENCE, ready)).map(|_| ());
    runtime.shutdown_background();
    served
}

fn router(watched: Watched, access: Access) -> Router {
    let guarded = feed::router().layer(middleware::from_fn_with_state(Arc::new(access), http::guard));
    guarded.merge(assets::router(assets::LIVE)).with_state(watched)
}

/// The page of a run that this process trains, on a thread of its own, until it is dropped.
#[derive(Debug)]
pub struct LivePage {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    address: SocketAddr,
}

impl LivePage {
    /// Shows the run in `run`.
    ///
    /// # Errors
    /// When the address is taken.
    pub fn start(run: &Path, access: Access) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (tell, heard) = std::sync::mpsc::channel();
        let (run, own, ready) = (run.to_path_buf(), stop.clone(), tell.clone());
        let serve = move || {
            if let Err(error) = watch(&run, access, own, &mut |address| drop(ready.send(Ok(address)))) {
                let _ = tell.send(Err(error));
            }
        };
        let thread = std::thread::Builder::new().name("igpt-page".into()).spawn(serve);
        let thread = thread.map_err(Error::io("the page's thread"))?;
        let address = heard.recv().map_err(|_| Error::Invalid("the page's thread ended at once".into()))??;
        Ok(Self { stop, thread: Some(thread), address })
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for LivePage {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
