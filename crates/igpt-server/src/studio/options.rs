//! Options of the server of a model.

use igpt::data::Dataset;
use igpt::device;
use igpt::inspect::InspectionFit;
use igpt::model::ModelDir;

use crate::access::Access;

/// Limits of a server on requests: sizes, numbers and times.
#[derive(Clone, Debug)]
pub struct ServerLimits {
    /// Largest size of a request body in bytes.
    pub body: usize,
    /// Largest number of pixels of an image, before it is scaled to the model's size.
    pub pixels: usize,
    /// Largest number of images, completions or samples in a request.
    pub images: usize,
    /// Largest number of images waiting for their turn; further ones are refused.
    pub queue: usize,
    /// Largest time for a request, in seconds.
    pub seconds: u64,
    /// Largest number of simultaneous requests of one client; 0 for no limit, since behind a proxy all clients look
    /// like one.
    pub per_client: usize,
    /// Time for open requests to finish when the server is told to stop, in seconds.
    pub grace: u64,
}

/// Options of the server of a model: the model, access, limits and engine.
pub struct ServeOptions {
    /// Model to serve.
    pub model: ModelDir,
    /// Name of the model in answers.
    pub name: String,
    /// Address to listen on, and who is admitted.
    pub access: Access,
    /// Whether to serve the web page, too.
    pub ui: bool,
    /// Limits on requests.
    pub limits: ServerLimits,
    /// Number of images drawn at once, where each candidate of a completion counts as one; 0 chooses a good number.
    pub rows: usize,
    /// Options of the engine.
    pub engine: device::EngineOptions,
    /// Data set with example images for the page, labelled with their classes.
    pub examples: Option<Dataset>,
    /// Data set in which nearest neighbours are searched.
    pub neighbors: Option<Dataset>,
    /// Fit of `igpt inspect fit` that is stored with the model; it judges odd pictures.
    pub inspection: Option<InspectionFit>,
    /// Callback for the embedding of `neighbors`; its arguments are the number done and the total.
    pub progress: Box<dyn FnMut(usize, usize) + Send>,
}
