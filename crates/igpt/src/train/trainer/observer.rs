//! What a run tells while it goes on: the program draws a bar from it, tests and notebooks may listen too.

use std::path::Path;
use std::sync::Arc;

use crate::data::sources::download::DownloadHook;
use crate::model::ModelConfig;

/// One thing that happened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// What is being done before training, in words fit to be shown.
    Phase(&'a str),
    /// Something about the run that stays worth a line, such as how many images each part of its data has.
    Note(&'a str),
    /// What is being done after training, in words fit to be shown.
    Finishing(&'a str),
    /// Something the user should know although the run goes on.
    Warning(&'a str),
    /// Training begins.
    Started(&'a RunStarted),
    /// An optimiser step was taken.
    Step(&'a StepReport),
    /// The validation loss was measured.
    Validated {
        /// Steps taken.
        step: u64,
        /// Nats per token over the validated images.
        loss: f64,
        /// `loss / (channels · ln 2)`.
        bits_per_dim: f64,
        /// Share of the images that are classified rightly, where a classifier is trained.
        accuracy: Option<f64>,
        /// Whether the loss is the lowest so far, or the accuracy the highest.
        best: bool,
    },
    /// A budget of minutes was turned into this many steps in all.
    Planned(u64),
    /// A grid of samples was written.
    Sampled(&'a Path),
    /// A checkpoint was written.
    Saved(&'a Path),
}

/// Facts of a run at its start.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RunStarted {
    /// The network.
    pub network: ModelConfig,
    /// Training images.
    pub images: usize,
    /// Images of a step.
    pub batch: usize,
    /// Steps already taken, above 0 on resume.
    pub step: u64,
    /// Steps of the whole run, if known yet.
    pub steps: Option<u64>,
}

/// Facts of one step.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct StepReport {
    /// Steps taken, this one included.
    pub step: u64,
    /// Steps of the whole run, if known yet.
    pub steps: Option<u64>,
    /// Nats per token of this step's batch; none where pixels are not trained on.
    pub loss: Option<f64>,
    /// Nats per label of this step's batch, where a classifier is trained.
    pub class_loss: Option<f64>,
    /// Learning rate of this step.
    pub lr: f64,
    /// Tokens per second since the last row of metrics.
    pub tokens_per_s: f64,
    /// Seconds of training so far, of earlier sessions too.
    pub elapsed_s: f64,
    /// Expected seconds to the end, if the end is known yet.
    pub left_s: Option<f64>,
}

/// Listens to a run. Every closure over [`Event`] is one.
pub trait Observer {
    /// Called from the training thread; slow listeners slow training down.
    fn event(&mut self, event: Event<'_>);
    /// Who is told how far the download of a data set is.
    fn download(&self) -> Option<Arc<DownloadHook>> {
        None
    }
}

impl<F: FnMut(Event<'_>)> Observer for F {
    fn event(&mut self, event: Event<'_>) {
        self(event);
    }
}
