//! The one error type of the library: each variant names the file or value at fault and the next thing to do.

use std::path::{Path, PathBuf};

use crate::text::one_line;

/// What can go wrong. The message is one line, fit to be shown to the user as it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file operation.
    #[error("{}: {source}", shown(path))]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file's contents are not what its format says.
    #[error("{}: {problem}", shown(path))]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong and what was expected.
        problem: String,
    },
    /// A setting, flag or argument has a value that can't be used.
    #[error("{0}")]
    Invalid(String),
    /// Two things that must belong together don't (palette and model, checkpoint and config, …).
    #[error("{0}")]
    Mismatch(String),
    /// Something that was asked for is not there; the message says what makes it.
    #[error("{0}")]
    Missing(String),
    /// Training met a loss that is not finite.
    #[error("the loss is {loss} at step {step}: lower the learning rate; the last good checkpoint is kept")]
    NotFinite {
        /// The optimiser step.
        step: u64,
        /// The value.
        loss: f64,
    },
    /// Training met a gradient that is not finite.
    #[error("the gradient's norm is {norm} at step {step}: lower the learning rate; the last good checkpoint is kept")]
    GradientNotFinite {
        /// The optimiser step.
        step: u64,
        /// The value.
        norm: f32,
    },
    /// A model computed something that is no finite number.
    #[error(
        "{model}: {what} of {image} is {value}: the weights are damaged or diverged{}; copy the model again or take an \
         earlier checkpoint", suspect.as_ref().map_or(String::new(), |suspect| format!(" ({suspect})"))
    )]
    ResultNotFinite {
        /// The model, as far as it is known by name.
        model: String,
        /// What was computed.
        what: String,
        /// The image that it was computed of.
        image: String,
        /// The value.
        value: f64,
        /// The weight that may be the cause.
        suspect: Option<String>,
    },
}

/// A path within a message of one line.
fn shown(path: &Path) -> String {
    one_line(&path.to_string_lossy()).into_owned()
}

/// The library's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Wraps an i/o error with the path it happened at; made for `map_err`.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { path, source }
    }

    /// The same error with the name of the model that computed, where it is about a model's results.
    #[must_use]
    pub fn of_model(self, name: impl std::fmt::Display) -> Error {
        match self {
            Error::ResultNotFinite { what, image, value, suspect, .. } => {
                Error::ResultNotFinite { model: name.to_string(), what, image, value, suspect }
            }
            other => other,
        }
    }

    /// A format error at `path`.
    pub fn format(path: impl Into<PathBuf>, problem: impl Into<String>) -> Error {
        Error::Format { path: path.into(), problem: problem.into() }
    }
}
