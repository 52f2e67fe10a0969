//! A server within the test's own process.

use std::net::SocketAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;

use igpt::data::{self, Dataset, OpenOptions};
use igpt::device::Precision;
use igpt::inspect::InspectionFit;
use igpt::model::ModelDir;
use igpt::train::open_model_dir;
use igpt::{Result, device};
use igpt_server::{Access, ServeOptions, ServerLimits};

use super::client::Client;

/// A server that is told to stop with the value.
pub(crate) struct Server {
    client: Client,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Server {
    /// A model's; takes requests.
    pub(crate) fn start(options: ServeOptions) -> Self {
        Self::run(move |stop, ready| igpt_server::serve(options, stop, ready))
    }

    /// Of the live page of a run.
    pub(crate) fn watch(run: &Path, access: Access) -> Self {
        let run = run.to_path_buf();
        Self::run(move |stop, ready| igpt_server::watch(&run, access, stop, ready))
    }

    fn run(serve: impl FnOnce(Arc<AtomicBool>, &mut dyn FnMut(SocketAddr)) -> Result<()> + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (tell, heard) = channel();
        let own = stop.clone();
        let thread = std::thread::spawn(move || serve(own, &mut |address| tell.send(address).unwrap()));
        let Ok(address) = heard.recv() else { panic!("the server ended: {:?}", thread.join()) };
        Self { client: Client::new(address.to_string()), stop, thread: Some(thread) }
    }

    /// Tells the server to stop.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// How the server ended, which must have been told to stop.
    pub(crate) fn ended(mut self) -> Result<()> {
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Deref for Server {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take().filter(|_| !std::thread::panicking()) {
            let _ = thread.join();
        }
    }
}

/// The model that comes with igpt, with its examples, as `igpt serve` has it.
pub(crate) fn bundled() -> ServeOptions {
    ServeOptions { name: "emoji".into(), examples: Some(open("emoji")), ..options(ModelDir::bundled().unwrap()) }
}

/// The model or run in a folder.
pub(crate) fn of(folder: PathBuf) -> ServeOptions {
    let name = folder.file_name().unwrap().to_string_lossy().into_owned();
    let model = open_model_dir(&folder).unwrap();
    let inspection = InspectionFit::find(&folder, &model).unwrap();
    ServeOptions { name, inspection, ..options(model) }
}

fn options(model: ModelDir) -> ServeOptions {
    ServeOptions {
        model,
        name: String::new(),
        access: access(None, &[]),
        ui: true,
        limits: limits(),
        rows: 0,
        engine: device::EngineOptions::new(Precision::F32).threads(1),
        examples: None,
        neighbors: None,
        inspection: None,
        progress: Box::new(|_, _| ()),
    }
}

/// What `igpt serve` takes at most if nothing is said.
pub(crate) fn limits() -> ServerLimits {
    ServerLimits { body: 32 << 20, pixels: 40_000_000, images: 64, queue: 256, seconds: 120, per_client: 64, grace: 30 }
}

/// A free port of this machine, with a token and names.
pub(crate) fn access(token: Option<&str>, names: &[&str]) -> Access {
    let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
    Access::new("127.0.0.1:0", token.map(String::from), false, &names).unwrap()
}

/// The images of a folder.
pub(crate) fn images(folder: PathBuf) -> Dataset {
    open(folder.to_str().unwrap())
}

fn open(spec: &str) -> Dataset {
    data::open(spec, &OpenOptions::default()).unwrap()
}
