//! `pytorch_model.bin`: torch.save's zip archive, a pickle that describes the tensors and one file a storage.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::pickle::{self, PickledTensor};
use super::stored::{Dtype, Stored};
use crate::{Error, Result, files};

/// iGPT-XL's pickle has about 200 KB.
const LARGEST_PICKLE: u64 = 4 << 20;

/// Finds the tensors in the archive at `path`; no tensor is read.
pub(super) fn read_index(path: &Path) -> Result<Vec<Stored>> {
    let bad = |problem: String| Error::format(path, problem);
    let file = files::open(path)?;
    let mut zip = zip::ZipArchive::new(std::io::BufReader::new(file)).map_err(|e| {
        bad(format!(
            "not a zip archive as torch.save writes it ({e}): save it as safetensors with a recent transformers"
        ))
    })?;
    // Where each member's bytes lie: torch stores them uncompressed, so tensors can be read straight from the file.
    let mut members = HashMap::new();
    let mut index = None;
    for i in 0..zip.len() {
        let mut member = zip.by_index(i).map_err(|e| bad(format!("damaged zip archive: {e}")))?;
        let Some((_, name)) = member.name().split_once('/') else { continue };
        let name = name.to_string();
        if member.compression() != zip::CompressionMethod::Stored {
            return Err(bad(format!("{name} is compressed, which torch.save never does: refused")));
        }
        if name == "data.pkl" || name == "byteorder" {
            if member.size() > LARGEST_PICKLE {
                return Err(bad(format!("{name} has {} bytes, at most {LARGEST_PICKLE} make sense", member.size())));
            }
            let mut bytes = Vec::new();
            member.read_to_end(&mut bytes).map_err(|e| bad(format!("{name} can't be read: {e}")))?;
            if name == "byteorder" && bytes != b"little" {
                return Err(bad("its numbers are big-endian: save it on a little-endian machine".into()));
            }
            if name == "data.pkl" {
                index = Some(bytes);
            }
        } else if let Some(key) = name.strip_prefix("data/") {
            members.insert(key.to_string(), (member.data_start(), member.size()));
        }
    }
    let index = index.ok_or_else(|| bad("a zip archive without data.pkl: not written by torch.save".into()))?;
    let file_len = std::fs::metadata(path).map_err(Error::io(path))?.len();
    let shared: Arc<Path> = path.into();
    let tensors = pickle::state_dict(&index).map_err(&bad)?;
    tensors.into_iter().map(|tensor| locate(tensor, &members, file_len, &shared)).collect()
}

/// Turns a pickled tensor into a place in the file, checking that its elements lie inside its storage.
fn locate(
    tensor: PickledTensor,
    members: &HashMap<String, (u64, u64)>,
    file_len: u64,
    path: &Arc<Path>,
) -> Result<Stored> {
    let PickledTensor { name, storage, key, offset, shape, strides } = tensor;
    let bad = |problem: String| Error::format(&**path, format!("tensor {name}: {problem}"));
    let dtype = match storage.as_str() {
        "FloatStorage" => Dtype::F32,
        "HalfStorage" => Dtype::F16,
        "BFloat16Storage" => Dtype::Bf16,
        other => Dtype::Other(other.trim_end_matches("Storage").to_lowercase()),
    };
    let &(data, len) = members.get(&key).ok_or_else(|| bad(format!("its storage data/{key} is missing")))?;
    let mut stored = Stored { name: name.clone(), dtype, shape, strides, file: path.clone(), start: data };
    if let Some(size) = stored.dtype.size() {
        let end = stored.span().and_then(|span| span.checked_add(offset)?.checked_mul(size));
        let inside = data.checked_add(len).is_some_and(|end| end <= file_len);
        if !inside || end.is_none_or(|end| end > len) {
            return Err(bad(format!(
                "its elements don't lie inside its storage of {len} bytes: damaged, copy it again"
            )));
        }
        stored.start = data + offset * size;
    }
    Ok(stored)
}
