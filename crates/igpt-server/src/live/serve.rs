//! Server of the live page.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::{Router, middleware};
use igpt::{Error, Result};

use super::ending::Ending;
use super::feed::{self, Watched};
use crate::access::Access;
use crate::connections::{self, Patience};
use crate::{assets, http};

/// Time limits; open pages would otherwise stay for ever when the server is told to stop.
const PATIENCE: Patience = Patience { client: Duration::from_secs(60), grace: Duration::from_millis(200) };
/// Number of threads that read files: a disk that does not answer blocks no more than these.
const READERS: usize = 4;

/// Serves the live page of the run in the directory `run` until `stop` is raised.
///
/// The run may not have begun yet. `ready` receives the address.
///
/// # Errors
/// When the address is in use.
pub fn watch(run: &Path, access: Access, stop: Arc<AtomicBool>, ready: &mut dyn FnMut(SocketAddr)) -> Result<()> {
    // Closing this page says nothing about the training, which may go on.
    serve(run, access, Ending::new(), stop, ready)
}

/// Serves the page until `stop` is raised; visitors are notified of the run's `ending`.
pub(super) fn serve(
    run: &Path,
    access: Access,
    ending: Ending,
    stop: Arc<AtomicBool>,
    ready: &mut dyn FnMut(SocketAddr),
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(READERS).build();
    let runtime = runtime.map_err(Error::io(PathBuf::from("the page's thread")))?;
    let (listen, access) = (access.listen(), Arc::new(access));
    let router = http::finish(router(Watched::new(run, ending), access.clone()), access);
    let served = runtime.block_on(connections::serve(router, listen, stop, PATIENCE, ready)).map(|_| ());
    runtime.shutdown_background();
    served
}

fn router(watched: Watched, access: Arc<Access>) -> Router {
    let guarded = feed::router().layer(middleware::from_fn_with_state(access, http::guard));
    guarded.merge(assets::router(assets::LIVE)).with_state(watched)
}
