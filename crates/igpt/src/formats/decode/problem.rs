//! Problems of image files: damage, or an unsupported format.

use image::ImageError;

/// Problem of an image file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// The file does not match its format.
    Damaged(String),
    /// The file may be undamaged, but its format is unsupported.
    Unsupported(String),
}

/// Beginning of the message for an unsupported format; such a file may be undamaged.
pub const NOT_SUPPORTED: &str = "not supported: ";

impl Problem {
    pub(super) fn damaged(problem: impl Into<String>) -> Self {
        Self::Damaged(problem.into())
    }

    /// Creates the problem of an unsupported file that is `what`.
    pub(super) fn unsupported(what: impl Into<String>) -> Self {
        Self::Unsupported(what.into())
    }

    /// Creates the problem that there is no memory for `bytes` more bytes.
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

/// Allocates a buffer of `bytes` zeros, or returns the problem that there is no memory for it.
pub(super) fn zeros(bytes: u64) -> Result<Vec<u8>, Problem> {
    let mut buffer = room(bytes)?;
    buffer.resize(bytes as usize, 0);
    Ok(buffer)
}

/// Allocates an empty buffer with room for `bytes` bytes.
///
/// Decoders allocate memory in a way that ends the process when there is none. What they will take is therefore
/// allocated here first, and freed.
pub(super) fn room(bytes: u64) -> Result<Vec<u8>, Problem> {
    let mut buffer = Vec::new();
    let length = usize::try_from(bytes).map_err(|_| Problem::no_memory(bytes))?;
    buffer.try_reserve_exact(length).map_err(|_| Problem::no_memory(bytes))?;
    Ok(buffer)
}
