//! Images that could not be decoded: named, counted, and tolerated up to 1 %.

use crate::formats::decode;
use crate::{Error, Result};

/// Number of damaged images that an error names.
pub(super) const NAMED: usize = 20;

/// An image that could not be decoded, with the decoder's message.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct DamagedImage {
    /// Name of the image in its source.
    pub name: String,
    /// Message of the decoder.
    pub problem: String,
}

impl DamagedImage {
    /// Creates the record of the image `name` from the error of its decoding.
    pub fn new(name: String, error: &Error) -> Self {
        let problem = match error {
            // The image's name identifies the file.
            Error::Format { problem, .. } => problem.clone(),
            Error::Io { source, .. } => source.to_string(),
            other => other.to_string(),
        };
        Self { name, problem }
    }

    /// Whether the file may be undamaged, but is of an unsupported format.
    pub fn is_unsupported(&self) -> bool {
        self.problem.starts_with(decode::NOT_SUPPORTED)
    }
}

/// Refuses more than 1 % of damaged images, naming the first [`NAMED`].
pub(crate) fn check_damaged(damaged: &[DamagedImage], images: usize) -> Result<()> {
    check_count(damaged, damaged.len(), images)
}

/// Refuses more than 1 % of damaged images: `count` in all, the first of them known.
pub(super) fn check_count(first: &[DamagedImage], count: usize, images: usize) -> Result<()> {
    if count * 100 <= images {
        return Ok(());
    }
    let list: Vec<String> = first.iter().take(NAMED).map(|d| format!("{} ({})", d.name, d.problem)).collect();
    let more = if count > NAMED { ", …" } else { "" };
    Err(Error::Invalid(format!(
        "{count} of {images} images are damaged, more than 1 %: mend or remove them: {}{more}",
        list.join(", ")
    )))
}
