//! `pytorch_model.bin`: torch.save's zip archive, a pickle that describes the tensors and one file per storage.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::pickle::{self, PickledTensor, short};
use super::stored::{Dtype, Stored};
use crate::{Error, Result, files};

/// Largest pickle; iGPT-XL's has about 200 KB.
const LARGEST_PICKLE: u64 = 4 << 20;

/// Finds the tensors in the archive at `path`, and compares every member with its checksum; keeps no tensor.
pub(crate) fn read_index(path: &Path) -> Result<Vec<Stored>> {
    super::lfs::expect_no_pointer(path, "weights")?;
    let bad = |problem: String| Error::format(path, problem);
    let file = files::open(path)?;
    let mut zip = zip::ZipArchive::new(std::io::BufReader::new(file)).map_err(|e| {
        bad(format!(
            "not a zip archive as torch.save writes it ({e}): save it as safetensors with a recent transformers"
        ))
    })?;
    // Position of each member's bytes: torch stores them uncompressed, so tensors can be read directly from the file.
    let mut members = HashMap::new();
    let mut index = None;
    for i in 0..zip.len() {
        let mut member = zip.by_index(i).map_err(|e| bad(format!("damaged zip archive: {e}")))?;
        let (whole, size) = (member.name().to_string(), member.size());
        if member.compression() != zip::CompressionMethod::Stored || member.compressed_size() != size {
            return Err(bad(format!("{} is compressed, which torch.save never does: refused", short(&whole))));
        }
        let name = whole.split_once('/').map_or("", |(_, name)| name);
        let kept = name == "data.pkl" || name == "byteorder";
        if kept && size > LARGEST_PICKLE {
            return Err(bad(format!("{name} has {size} bytes, at most {LARGEST_PICKLE} make sense")));
        }
        let mut bytes = Vec::new();
        // Reading a member to its end compares it with its checksum.
        let read = match kept {
            true => member.read_to_end(&mut bytes).map(|length| length as u64),
            false => std::io::copy(&mut member, &mut std::io::sink()),
        };
        match read {
            Ok(length) if length == size => {}
            Ok(length) => return Err(bad(format!("{} is cut off after {length} of {size} bytes", short(&whole)))),
            Err(e) => return Err(bad(format!("{} is damaged ({e}): copy the file again", short(&whole)))),
        }
        if name == "byteorder" && bytes != b"little" {
            return Err(bad("its numbers are big-endian: save it on a little-endian machine".into()));
        }
        let again = match name.strip_prefix("data/") {
            _ if name == "data.pkl" => index.replace(bytes).is_some(),
            Some(key) => members.insert(key.to_string(), (member.data_start(), size)).is_some(),
            None => false,
        };
        if again {
            return Err(bad(format!("{} is in the archive twice", short(name))));
        }
    }
    let index = index.ok_or_else(|| bad("a zip archive without data.pkl: not written by torch.save".into()))?;
    let file_len = std::fs::metadata(path).map_err(Error::io(path))?.len();
    let shared: Arc<Path> = path.into();
    let tensors = pickle::state_dict(&index).map_err(&bad)?;
    let tensors = tensors.into_iter().map(|tensor| locate(tensor, &members, file_len, &shared));
    let tensors = tensors.collect::<Result<Vec<_>>>()?;
    // Tensors may share a storage, but as a whole they can't be larger than the file that holds them.
    let sizes = tensors.iter().map(|tensor| tensor.elements()?.checked_mul(tensor.dtype.size().unwrap_or(0)));
    let all = sizes.into_iter().try_fold(0u64, |sum, size| sum.checked_add(size?));
    if all.is_none_or(|all| all > file_len) {
        return Err(bad(format!(
            "its tensors would take more than the file's {file_len} bytes, since several are made of the same: refused"
        )));
    }
    Ok(tensors)
}

/// Converts a pickled tensor to a position in the file, and checks that its elements lie inside its storage.
fn locate(
    tensor: PickledTensor,
    members: &HashMap<String, (u64, u64)>,
    file_len: u64,
    path: &Arc<Path>,
) -> Result<Stored> {
    let PickledTensor { name, storage, key, offset, shape, strides } = tensor;
    let bad = |problem: String| Error::format(&**path, format!("tensor {}: {problem}", short(&name)));
    let dtype = match storage {
        "FloatStorage" => Dtype::F32,
        "HalfStorage" => Dtype::F16,
        "BFloat16Storage" => Dtype::Bf16,
        other => Dtype::Other(other.trim_end_matches("Storage").to_lowercase()),
    };
    let missing = || bad(format!("its storage data/{} is missing", short(&key)));
    let &(data, len) = members.get(&*key).ok_or_else(missing)?;
    let mut stored = Stored { name: name.to_string(), dtype, shape, strides, file: path.clone(), start: data };
    if let Some(size) = stored.dtype.size() {
        let end = stored.span().and_then(|span| span.checked_add(offset)?.checked_mul(size));
        let inside = data.checked_add(len).is_some_and(|end| end <= file_len);
        if !inside || end.is_none_or(|end| end > len) {
            return Err(bad(format!(
                "its elements don't lie inside its storage of {len} bytes: damaged, copy it again"
            )));
        }
        // An expanded tensor repeats its elements by strides of 0, and may be of any size.
        if stored.elements().is_none_or(|elements| Some(elements) > stored.span()) {
            let (shape, strides) = (&stored.shape, &stored.strides);
            return Err(bad(format!(
                "shape {shape:?} with strides {strides:?} uses elements several times: save it after .contiguous()"
            )));
        }
        stored.start = data + offset * size;
    }
    Ok(stored)
}
