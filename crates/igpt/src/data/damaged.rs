//! Images that could not be decoded: named, counted, and borne with up to 1 %.

use crate::formats::decode;
use crate::{Error, Result};

/// Damaged images that an error names.
pub(super) const NAMED: usize = 20;

/// An image that could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct DamagedImage {
    /// Its name in the source.
    pub name: String,
    /// What the decoder said.
    pub problem: String,
}

impl DamagedImage {
    /// The image called `name`, which gave `error`.
    pub fn new(name: String, error: &Error) -> Self {
        let problem = match error {
            // The image's name says which file.
            Error::Format { problem, .. } => problem.clone(),
            Error::Io { source, .. } => source.to_string(),
            other => other.to_string(),
        };
        Self { name, problem }
    }

    /// Whether it may be whole, but is of a kind that is not read.
    pub fn is_unsupported(&self) -> bool {
        self.problem.starts_with(decode::NOT_SUPPORTED)
    }
}

/// Refuses more than 1 % of damaged images, naming the first [`NAMED`].
pub(crate) fn check_damaged(damaged: &[DamagedImage], images: usize) -> Result<()> {
    check_count(damaged, damaged.len(), images)
}

/// As [`check_damaged`], with `count` damaged images of which `first` are known.
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
