//! Server of a model.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use igpt::{Error, Result, device};

use super::model::{Inspecting, Served};
use super::options::ServeOptions;
use super::routes;
use super::state::Shared;
use super::worker::Worker;
use crate::connections::{self, Patience};
use crate::http;

/// Serves a model over HTTP until `stop` is raised, then finishes open requests within the limit of time.
///
/// `ready` receives the address.
///
/// # Errors
/// When the model can't be opened, images can't be had, or the address is in use; and when requests were cut off at the
/// end.
pub fn serve(options: ServeOptions, stop: Arc<AtomicBool>, ready: &mut dyn FnMut(SocketAddr)) -> Result<()> {
    let ServeOptions { model, name, access, ui, limits, rows, engine, examples, neighbors, inspection, mut progress } =
        options;
    let mut computing = device::open(&model.config, &model.weights, &engine)?;
    let inspecting = Inspecting::new(inspection, &model, &engine);
    let served = Served::new(model, name, &mut *computing, (examples, neighbors, inspecting), &mut progress)?;
    let worker = Worker::start(computing, rows, limits.queue)?;
    let (listen, access) = (access.listen(), Arc::new(access));
    let patience = Patience { client: Duration::from_secs(limits.seconds), grace: Duration::from_secs(limits.grace) };
    let state = Shared::new(served, worker, access.clone(), limits);
    let router = http::finish(routes::router(state.clone(), ui), access);
    // Two threads serve the network; the engine has its own.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(Error::io(PathBuf::from("the server's threads")))?;
    let finished = runtime.block_on(connections::serve(router, listen, stop, patience, ready))?;
    let open = state.metrics.open();
    runtime.shutdown_background();
    match finished {
        true => Ok(()),
        false => Err(Error::Invalid(format!("stopped with {open} requests still open: --grace gives them more time"))),
    }
}
