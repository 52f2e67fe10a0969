//! `igpt serve`: a model as an API, and a page to play and work with.

mod body;
mod decoding;
mod drawing;
mod finite;
mod generation;
mod images;
mod judging;
mod metrics;
mod model;
mod options;
mod routes;
mod serve;
mod state;
mod stream;
mod whole;
mod worker;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use igpt::data::Dataset;
use igpt::model::ModelDir;
use igpt::{Error, Result, device};

use self::model::Served;
use self::worker::Worker;
use crate::connections::{self, Patience};
use crate::{Access, http};

/// What a server takes at most.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a request.
    pub body: usize,
    /// Pixels of an image, before it is shrunk to the model's size.
    pub pixels: usize,
    /// Images, completions or samples of a request.
    pub images: usize,
    /// Images waiting for their turn; more are refused.
    pub queue: usize,
    /// Seconds that a request may take.
    pub seconds: u64,
    /// Requests of one client at a time; 0 is no limit, as behind a proxy, where all clients look like one.
    pub per_client: usize,
    /// Seconds that requests have to finish in when the server is told to stop.
    pub grace: u64,
}

/// Which model is served, and how.
pub struct Options {
    /// The model.
    pub model: ModelDir,
    /// Its name in answers.
    pub name: String,
    /// Where to listen, and who may come in.
    pub access: Access,
    /// Whether there is a page.
    pub ui: bool,
    /// What is taken at most.
    pub limits: Limits,
    /// Images that are drawn at once, each candidate of a completion counting as one; 0 is a good number.
    pub rows: usize,
    /// How the engine computes.
    pub engine: device::Options,
    /// Images for the page to begin with, and whose classes are known.
    pub examples: Option<Dataset>,
    /// Images among which the nearest are looked for.
    pub neighbors: Option<Dataset>,
    /// Told how many of these are embedded, and of how many.
    pub progress: Box<dyn FnMut(usize, usize)>,
}

/// Serves until `stop` is raised, then finishes what is under way, as far as the limits give it time. `ready` is told
/// the address.
///
/// # Errors
/// When the model can't be opened, images can't be had, or the address is taken; and when requests were cut off at the
/// end.
pub fn serve(options: Options, stop: Arc<AtomicBool>, ready: &mut dyn FnMut(SocketAddr)) -> Result<()> {
    let Options { model, name, access, ui, limits, rows, engine, examples, neighbors, mut progress } = options;
    let mut computing = device::open(&model.config, &model.weights, &engine)?;
    let served = Served::new(model, name, &mut *computing, examples, neighbors, &mut progress)?;
    let worker = Worker::start(computing, rows, limits.queue)?;
    let (listen, access) = (access.listen(), Arc::new(access));
    let patience = Patience { client: Duration::from_secs(limits.seconds), grace: Duration::from_secs(limits.grace) };
    let state = routes::Shared::new(served, worker, access.clone(), limits);
    let router = http::finish(routes::router(state.clone(), ui), access);
    // Two threads carry bytes; the arithmetic has its own.
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
