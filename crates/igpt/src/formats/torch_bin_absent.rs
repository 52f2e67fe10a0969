//! Replacement of the reader of torch.save's archives in builds without the feature `archives`.

use std::path::Path;

use super::stored::Stored;
use crate::{Error, Result};

/// Refuses the archive at `path`.
pub(crate) fn read_index(path: &Path) -> Result<Vec<Stored>> {
    Err(Error::format(path, "igpt was built without the feature `archives`: save it as safetensors"))
}
