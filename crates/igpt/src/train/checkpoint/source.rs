//! The tensors of a checkpoint: in its files, or as another rank has sent them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ::safetensors::SafeTensors;

use crate::model::dir::safetensors;
use crate::model::dir::stored::Stored;
use crate::{Error, Result};

/// Where the tensors of a checkpoint are read from.
pub(super) enum Source<'a> {
    /// Files, one tensor at a time.
    Files(HashMap<String, Stored>),
    /// The contents of files.
    Received(Vec<SafeTensors<'a>>),
}

impl<'a> Source<'a> {
    pub(super) fn files(paths: impl Iterator<Item = PathBuf>) -> Result<Self> {
        let mut stored = HashMap::new();
        for path in paths {
            let tensors = safetensors::read_header(&path)?.tensors;
            stored.extend(tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)));
        }
        Ok(Self::Files(stored))
    }

    /// What was sent of the files of the checkpoint at `path`.
    pub(super) fn received(path: &Path, contents: &'a [Vec<u8>]) -> Result<Self> {
        let files = contents.iter().map(|file| SafeTensors::deserialize(file));
        let files = files.collect::<Result<_, _>>().map_err(|e| Error::format(path, e.to_string()))?;
        Ok(Self::Received(files))
    }

    /// Refuses a checkpoint at `path` that has no f32 tensor of this name and shape.
    pub(super) fn expect(&self, path: &Path, name: &str, shape: &[usize]) -> Result<()> {
        let found = match self {
            Source::Files(stored) => {
                stored.get(name).map(|stored| (format!("{:?}", stored.dtype), stored.shape.clone()))
            }
            Source::Received(files) => files.iter().find_map(|file| file.tensor(name).ok()).map(|view| {
                let shape = view.shape().to_vec();
                (format!("{:?}", view.dtype()), shape)
            }),
        };
        match found {
            None => Err(Error::format(path, format!("{name} is missing"))),
            Some((dtype, found)) if dtype != "F32" || found != shape => {
                Err(Error::Mismatch(format!("{}: {name} is {dtype} {found:?}, not F32 {shape:?}", path.display())))
            }
            Some(_) => Ok(()),
        }
    }

    /// The values of a tensor that is there.
    pub(super) fn read(&self, name: &str) -> Result<Vec<f32>> {
        match self {
            Source::Files(stored) => stored.get(name).map(Stored::read).unwrap_or_else(|| Ok(Vec::new())),
            Source::Received(files) => {
                let view = files.iter().find_map(|file| file.tensor(name).ok());
                let bytes = view.as_ref().map_or(&[][..], |view| view.data());
                Ok(bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
            }
        }
    }
}
