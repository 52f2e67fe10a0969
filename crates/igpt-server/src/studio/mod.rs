//! Server of a model (`igpt serve`): an API, and a web page.

mod analysis;
mod body;
mod decoding;
mod drawing;
mod features;
mod finite;
mod generation;
mod images;
mod inspecting;
mod metrics;
mod model;
mod options;
mod routes;
mod serve;
mod state;
mod stream;
mod whole;
mod worker;

pub use self::options::{ServeOptions, ServerLimits};
pub use self::serve::serve;
