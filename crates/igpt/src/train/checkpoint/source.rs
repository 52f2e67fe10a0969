//! Tensors of a checkpoint, read from its files one at a time.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::formats::{
    safetensors,
    stored::{Dtype, Stored},
};
use crate::{Error, Result};

/// Place of each tensor in the files of a checkpoint.
pub(super) struct Source(HashMap<String, Stored>);

impl Source {
    /// Opens the tensors of all these files.
    pub(super) fn open(paths: impl Iterator<Item = PathBuf>) -> Result<Self> {
        let mut stored = HashMap::new();
        for path in paths {
            let tensors = safetensors::read_header(&path)?.tensors;
            stored.extend(tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)));
        }
        Ok(Self(stored))
    }

    /// Shape of the tensor `name`, if there is one.
    pub(super) fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.0.get(name).map(|stored| stored.shape.clone())
    }

    /// Finds the f32 tensor of this name and shape in the checkpoint at `path`.
    ///
    /// # Errors
    /// When there is no such tensor.
    pub(super) fn find(&self, path: &Path, name: &str, shape: &[usize]) -> Result<&Stored> {
        match self.0.get(name) {
            None => Err(Error::format(path, format!("{name} is missing"))),
            Some(Stored { dtype, shape: found, .. }) if *dtype != Dtype::F32 || found != shape => {
                Err(Error::Mismatch(format!("{}: {name} is {dtype:?} {found:?}, not F32 {shape:?}", path.display())))
            }
            Some(stored) => Ok(stored),
        }
    }
}
