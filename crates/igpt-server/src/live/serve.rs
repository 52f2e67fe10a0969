//! The server of the live page.

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

/// Open pages would stay for ever when the server is told to stop.
const PATIENCE: Patience = Patience { client: Duration::from_secs(60), grace: Duration::from_millis(200) };
/// Threads that read files: a disk that does not answer holds no more than these.
const READERS: usize = 4;

/// Shows the run in `run` until `stop` is raised; it may not have begun yet. `ready` is told the address.
///
/// # Errors
/// When the address is taken.
pub fn watch(run: &Path, access: Access, stop: Arc<AtomicBool>, ready: &mut dyn FnMut(SocketAddr)) -> Result<()> {
    // A page that closes says nothing of the training, which may go on.
    serve(run, access, Ending::new(), stop, ready)
}

/// Shows the run until `stop` is raised; visitors hear of its `ending`.
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
