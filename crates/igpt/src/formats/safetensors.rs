//! safetensors files: reading of headers, and a writer.
//!
//! The header is checked tensor by tensor, so that an error can name the one at fault. The writer makes the same bytes
//! for the same tensors (the library's writer has its metadata in a random order).

use std::collections::HashMap;
use std::io::{BufWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;

use safetensors::View;
use serde_json::{Map, Value, json};

use super::stored::{Dtype, Stored};
use crate::files::{self, NewFile};
use crate::{Error, Result};

/// Largest header: enough for a hundred thousand tensors. JSON takes up to 30 times its size in memory.
const LARGEST_HEADER: u64 = 16 << 20;

/// A file's tensors and its free metadata.
pub(crate) struct Header {
    pub(crate) tensors: Vec<Stored>,
    pub(crate) metadata: HashMap<String, String>,
}

#[derive(serde::Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

/// Reads and checks the header of the file at `path`; reads no tensor.
pub(crate) fn read_header(path: &Path) -> Result<Header> {
    super::lfs::expect_no_pointer(path, "weights")?;
    let bad = |problem: String| Error::format(path, problem);
    let mut file = files::open(path)?;
    let file_len = file.metadata().map_err(Error::io(path))?.len();
    if file_len < 8 {
        return Err(bad(format!("a safetensors file of {file_len} bytes: truncated, copy it again")));
    }
    let mut len = [0; 8];
    file.read_exact(&mut len).map_err(Error::io(path))?;
    let len = u64::from_le_bytes(len);
    if len > LARGEST_HEADER {
        return Err(bad(format!("header of {len} bytes, but at most {LARGEST_HEADER} make sense: not safetensors?")));
    }
    if len > file_len - 8 {
        return Err(bad(format!("header of {len} bytes in a file of {file_len}: truncated, copy it again")));
    }
    let mut header = vec![0; len as usize];
    file.read_exact(&mut header).map_err(Error::io(path))?;
    let mut entries: serde_json::Map<String, Value> =
        serde_json::from_slice(&header).map_err(|e| bad(format!("the safetensors header is not JSON: {e}")))?;

    let metadata = match entries.remove("__metadata__") {
        None => HashMap::new(),
        Some(value) => serde_json::from_value(value)
            .map_err(|e| bad(format!("__metadata__ in the header is not a map of strings: {e}")))?,
    };
    let data_start = 8 + len;
    let shared: Arc<Path> = path.into();
    let mut spans = Vec::with_capacity(entries.len());
    let mut tensors = Vec::with_capacity(entries.len());
    for (name, value) in entries {
        let entry: Entry =
            serde_json::from_value(value).map_err(|e| bad(format!("tensor {name}: bad header entry: {e}")))?;
        let (start, end) = entry.data_offsets;
        let dtype = Dtype::from_safetensors(&entry.dtype);
        if end < start || end > file_len - data_start {
            let have = file_len - data_start;
            return Err(bad(format!(
                "tensor {name}: its bytes {start}..{end} are not inside the file's {have}: truncated, copy it again"
            )));
        }
        let count = entry.shape.iter().try_fold(1u64, |n, &side| n.checked_mul(side as u64));
        let bytes = dtype.size().and_then(|size| count?.checked_mul(size));
        // An unknown element type has no size to check; reading that tensor will be refused by name.
        if dtype.size().is_some() && bytes != Some(end - start) {
            let (kind, shape, have) = (&entry.dtype, &entry.shape, end - start);
            return Err(bad(format!("tensor {name}: {kind} of shape {shape:?} doesn't fill its {have} bytes")));
        }
        spans.push((start, end, name.clone()));
        tensors.push(Stored::contiguous(name, dtype, entry.shape, shared.clone(), data_start + start));
    }
    spans.sort();
    let mut covered = 0;
    for (start, end, name) in &spans {
        if *start != covered {
            let what = if *start < covered { "overlap the tensor before it" } else { "leave a hole before them" };
            return Err(bad(format!("tensor {name}: its bytes {start}..{end} {what}")));
        }
        covered = *end;
    }
    if covered != file_len - data_start {
        let have = file_len - data_start;
        return Err(bad(format!(
            "the tensors cover {covered} bytes, but the file holds {have}: damaged, copy it again"
        )));
    }
    Ok(Header { tensors, metadata })
}

/// Writes `tensors` in their order, converting one at a time, and syncs the file.
pub(crate) fn write<V: View>(path: &Path, metadata: &[(&str, &str)], tensors: &[(String, V)]) -> Result<()> {
    let mut header = Map::new();
    if !metadata.is_empty() {
        let entries = metadata.iter().map(|(key, value)| (key.to_string(), Value::from(*value)));
        header.insert("__metadata__".into(), Value::Object(entries.collect()));
    }
    let mut end = 0;
    for (name, tensor) in tensors {
        let start = end;
        end += tensor.data_len();
        let entry = json!({"dtype": tensor.dtype(), "shape": tensor.shape(), "data_offsets": [start, end]});
        header.insert(name.clone(), entry);
    }
    let mut header = Value::Object(header).to_string();
    // Tensors start at a multiple of 8 bytes.
    header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
    let mut file = BufWriter::new(NewFile::create(path)?);
    let mut write = || {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        tensors.iter().try_for_each(|(_, tensor)| file.write_all(&tensor.data()))?;
        file.flush()
    };
    write().map_err(Error::io(path))?;
    file.into_inner().map_err(|error| Error::io(path)(error.into_error()))?.finish()
}
