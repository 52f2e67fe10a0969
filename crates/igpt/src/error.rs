//! The library's error type: each variant names the file or value at fault and the next thing to do.

use std::path::{Path, PathBuf};

use crate::text::one_line;

/// Error of any library function, by cause.
///
/// The message can be shown to the user as it is. It is one line, or two where a setting is unknown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file operation.
    #[error("{}: {source}", shown(path))]
    Io {
        /// The file or directory of the failed operation.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// A file's contents do not match its format.
    #[error("{}: {problem}", shown(path))]
    Format {
        /// The file with the wrong contents.
        path: PathBuf,
        /// Description of what is wrong and what was expected.
        problem: String,
    },
    /// A setting, flag or argument has an unusable value.
    #[error("{0}")]
    Invalid(String),
    /// Two things that must belong together don't (palette and model, checkpoint and config, …).
    #[error("{0}")]
    Mismatch(String),
    /// A file, directory, model, run or data set is not there; the message says what creates it.
    #[error("{0}")]
    NotFound(String),
    /// A model, fit or run lacks what was asked of it, such as a classifier; the message says what adds it.
    #[error("{0}")]
    Missing(String),
    /// The training loss is not finite.
    #[error("the loss is {loss} at step {step}: lower the learning rate; the last good checkpoint is kept")]
    NotFinite {
        /// The optimizer step of the loss.
        step: u64,
        /// The loss: NaN or infinite.
        loss: f64,
    },
    /// The norm of the training gradient is not finite.
    #[error("the gradient's norm is {norm} at step {step}: lower the learning rate; the last good checkpoint is kept")]
    GradientNotFinite {
        /// The optimizer step of the gradient.
        step: u64,
        /// The gradient's norm: NaN or infinite.
        norm: f32,
    },
    /// A model computed a value that is not finite.
    #[error(
        "{model}: {what} of {image} is {value}: the weights are damaged or diverged{}; copy the model again or take an \
         earlier checkpoint", suspect.as_ref().map_or(String::new(), |suspect| format!(" ({suspect})"))
    )]
    ResultNotFinite {
        /// The model's name, as far as it is known.
        model: String,
        /// The quantity that was computed.
        what: String,
        /// The image that the quantity was computed for.
        image: String,
        /// The value: NaN or infinite.
        value: f64,
        /// The weight that may be the cause.
        suspect: Option<String>,
    },
}

/// The path as text for a message of one line.
fn shown(path: &Path) -> String {
    one_line(&path.to_string_lossy()).into_owned()
}

/// Result of the library's functions, with [`Error`] as its error type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Returns a closure that wraps an I/O error with `path`; made for `map_err`.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { path, source }
    }

    /// Names the model in an error about a model's results; any other error stays as it is.
    #[must_use]
    pub fn of_model(self, name: impl std::fmt::Display) -> Error {
        match self {
            Error::ResultNotFinite { what, image, value, suspect, .. } => {
                Error::ResultNotFinite { model: name.to_string(), what, image, value, suspect }
            }
            other => other,
        }
    }

    /// Creates a format error for the file `path`.
    pub fn format(path: impl Into<PathBuf>, problem: impl Into<String>) -> Error {
        Error::Format { path: path.into(), problem: problem.into() }
    }
}
