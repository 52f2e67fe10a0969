//! Errors of the library as Python's exceptions.

use std::io::ErrorKind;

use pyo3::exceptions::{PyException, PyFileNotFoundError, PyOSError, PyValueError};
use pyo3::{PyErr, create_exception};

create_exception!(igpt, Error, PyException, "An error of igpt that is no wrong argument and no missing file.");

/// The exception for `error`: `FileNotFoundError` and `OSError` for files, `ValueError` for arguments and settings, and
/// `igpt.Error` for everything else, each with the library's message.
pub(crate) fn raised(error: igpt::Error) -> PyErr {
    let message = error.to_string();
    match error {
        igpt::Error::Io { source, .. } if source.kind() == ErrorKind::NotFound => PyFileNotFoundError::new_err(message),
        igpt::Error::Io { .. } => PyOSError::new_err(message),
        igpt::Error::NotFound(_) => PyFileNotFoundError::new_err(message),
        igpt::Error::Invalid(_) | igpt::Error::Mismatch(_) | igpt::Error::Format { .. } => {
            PyValueError::new_err(message)
        }
        _ => Error::new_err(message),
    }
}
