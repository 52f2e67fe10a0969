//! Why a file gives no picture: it is damaged, or of a kind that is not read.

use image::ImageError;

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// It is not what its format says.
    Damaged(String),
    /// It may well be whole, but nothing here reads it.
    Unsupported(String),
}

/// How the problem of a file begins that may be whole but is of a kind that is not read.
pub const NOT_SUPPORTED: &str = "not supported: ";

impl Problem {
    pub(super) fn damaged(problem: impl Into<String>) -> Self {
        Self::Damaged(problem.into())
    }

    /// A file that is `what`.
    pub(super) fn unsupported(what: impl Into<String>) -> Self {
        Self::Unsupported(what.into())
    }

    /// No memory for so many bytes more.
    pub(super) fn no_memory(bytes: u64) -> Self {
        Self::Damaged(format!("there is no memory for the {bytes} bytes that decoding it takes: shrink it"))
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Damaged(problem) => f.write_str(problem),
            Self::Unsupported(what) => write!(f, "{NOT_SUPPORTED}{what}: convert it to PNG"),
        }
    }
}

impl From<ImageError> for Problem {
    fn from(error: ImageError) -> Self {
        match &error {
            ImageError::Unsupported(_) => Self::Unsupported(error.to_string()),
            ImageError::Limits(_) => Self::damaged("its header asks for more memory than such a picture takes"),
            _ => Self::Damaged(error.to_string()),
        }
    }
}

/// A buffer of `bytes` zeros, or the problem that there is no memory for it.
pub(super) fn zeros(bytes: u64) -> Result<Vec<u8>, Problem> {
    let mut buffer = room(bytes)?;
    buffer.resize(bytes as usize, 0);
    Ok(buffer)
}

/// An empty buffer that `bytes` bytes fit into. Decoders ask for memory in a way that ends the process when there is
/// none, so what they will take is asked for here first, and given back.
pub(super) fn room(bytes: u64) -> Result<Vec<u8>, Problem> {
    let mut buffer = Vec::new();
    let length = usize::try_from(bytes).map_err(|_| Problem::no_memory(bytes))?;
    buffer.try_reserve_exact(length).map_err(|_| Problem::no_memory(bytes))?;
    Ok(buffer)
}
