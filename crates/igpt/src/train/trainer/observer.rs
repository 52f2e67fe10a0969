//! Events of a run for observers, such as the program's progress bar, tests and notebooks.

use std::path::Path;
use std::sync::Arc;

use crate::data::sources::download::DownloadHook;
use crate::model::ModelConfig;

/// Event of a run.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A phase of the preparation begins; the text can be shown to users.
    Phase(&'a str),
    /// A lasting fact about the run, such as how many images each split of its data has.
    Note(&'a str),
    /// A phase after training begins; the text can be shown to users.
    Finishing(&'a str),
    /// A warning to the user; the run goes on.
    Warning(&'a str),
    /// Training begins.
    Started(&'a RunStarted),
    /// An optimizer step was taken.
    Step(&'a StepReport),
    /// The validation loss was measured.
    Validated {
        /// Optimizer steps taken.
        step: u64,
        /// Validation loss in nats per token.
        loss: f64,
        /// Validation loss in bits per dim: `loss / (channels · ln 2)`.
        bits_per_dim: f64,
        /// Validation accuracy, if a classifier is trained.
        accuracy: Option<f64>,
        /// Whether the loss is the lowest so far, or the accuracy the highest.
        best: bool,
    },
    /// A budget in minutes was converted to this number of steps in all.
    Planned(u64),
    /// A sample grid was written to this file.
    Sampled(&'a Path),
    /// A checkpoint was written to this directory.
    Saved(&'a Path),
}

/// Facts about a run at its start.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RunStarted {
    /// Network that is trained.
    pub network: ModelConfig,
    /// Number of training images.
    pub images: usize,
    /// Images per step (batch size).
    pub batch: usize,
    /// Steps already taken, above 0 on resume.
    pub step: u64,
    /// Steps of the whole run, if already known.
    pub steps: Option<u64>,
}

/// Results of one optimizer step.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct StepReport {
    /// Steps taken, including this one.
    pub step: u64,
    /// Steps of the whole run, if already known.
    pub steps: Option<u64>,
    /// Loss of this step's batch in nats per token; `None` if pixels are not trained on.
    pub loss: Option<f64>,
    /// Classification loss of this step's batch in nats per label, if a classifier is trained.
    pub class_loss: Option<f64>,
    /// Learning rate of this step.
    pub lr: f64,
    /// Tokens per second since the last row of metrics.
    pub tokens_per_s: f64,
    /// Seconds of training so far, including earlier sessions.
    pub elapsed_s: f64,
    /// Expected seconds to the end, if the end is already known.
    pub left_s: Option<f64>,
}

/// Receiver of a run's events; every closure over [`Event`] is one.
///
/// ```
/// use igpt::Pretrain;
/// use igpt::train::Event;
///
/// # fn main() -> igpt::Result<()> {
/// # let (mut steps, folder) = (0, tempfile::tempdir().unwrap());
/// let pretrain = Pretrain::new().n_px(8).colors(4).n_embd(16).n_layer(1).batch(4).steps(3);
/// # let pretrain = pretrain.set("train.eval_images=8")?.set("train.sample_images=0")?;
/// let pretrain = pretrain.on_event(|event| {
///     if let Event::Step(report) = event {
///         println!("step {}: loss {:?} nats/token", report.step, report.loss);
/// #       steps += 1;
///     }
/// });
/// pretrain.run_in(folder.path().join("run"))?;
/// # assert_eq!(steps, 3);
/// # Ok(())
/// # }
/// ```
pub trait Observer {
    /// Receives one event, on the training thread; slow observers slow training down.
    fn event(&mut self, event: Event<'_>);
    /// Returns the hook that receives the download progress of a data set, if any.
    fn download(&self) -> Option<Arc<DownloadHook>> {
        None
    }
}

impl<F: FnMut(Event<'_>)> Observer for F {
    fn event(&mut self, event: Event<'_>) {
        self(event);
    }
}
