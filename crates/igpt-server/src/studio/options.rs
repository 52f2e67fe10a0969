//! Which model is served, and how.

use igpt::data::Dataset;
use igpt::device;
use igpt::inspect::InspectionFit;
use igpt::model::ModelDir;

use crate::access::Access;

/// What a server takes at most.
#[derive(Clone, Debug)]
pub struct ServerLimits {
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
pub struct ServeOptions {
    /// The model.
    pub model: ModelDir,
    /// Its name in answers.
    pub name: String,
    /// Where to listen, and who may come in.
    pub access: Access,
    /// Whether there is a page.
    pub ui: bool,
    /// What is taken at most.
    pub limits: ServerLimits,
    /// Images that are drawn at once, each candidate of a completion counting as one; 0 is a good number.
    pub rows: usize,
    /// How the engine computes.
    pub engine: device::EngineOptions,
    /// Images for the page to begin with, and whose classes are known.
    pub examples: Option<Dataset>,
    /// Images among which the nearest are looked for.
    pub neighbors: Option<Dataset>,
    /// What `igpt inspect fit` keeps with the model: odd pictures are told by it.
    pub inspection: Option<InspectionFit>,
    /// Told how many of these are embedded, and of how many.
    pub progress: Box<dyn FnMut(usize, usize) + Send>,
}
