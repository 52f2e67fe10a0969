//! JSON files of settings, read within a size limit.

use std::path::Path;

use serde_json::Value;

use crate::formats::lfs::expect_no_pointer;
use crate::{Error, Result, files};

/// Largest settings file, in bytes. A palette of 65536 colours takes about 10 MB, and parsed JSON takes up to 30
/// times its size in memory.
const LARGEST_JSON: u64 = 32 << 20;

/// Reads the JSON value in the file at `path`.
pub(super) fn read_json(path: &Path) -> Result<Value> {
    let length = files::open(path)?.metadata().map_err(Error::io(path))?.len();
    if length > LARGEST_JSON {
        return Err(Error::format(path, format!("{length} bytes, but settings have at most {LARGEST_JSON}")));
    }
    expect_no_pointer(path, "settings")?;
    let text = files::read(path)?;
    serde_json::from_slice(&text).map_err(|e| Error::format(path, format!("not JSON: {e}")))
}
