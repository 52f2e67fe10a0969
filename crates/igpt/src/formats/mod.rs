//! Bytes of files to values and back, each format in a file of its own: pictures, arrays, and tensors of other programs.
//!
//! Files from elsewhere are not trusted: sizes are checked before memory is taken, and pickles run nothing.

pub mod decode;
pub mod gif;
pub(crate) mod lfs;
pub mod npy;
#[cfg(feature = "archives")]
mod pickle;
pub mod png;
pub(crate) mod safetensors;
pub(crate) mod stored;
#[cfg(feature = "archives")]
pub(crate) mod torch_bin;

/// Stands in for the reader of torch.save's archives in builds without it.
#[cfg(not(feature = "archives"))]
pub(crate) mod torch_bin {
    use std::path::Path;

    use super::stored::Stored;
    use crate::{Error, Result};

    pub(crate) fn read_index(path: &Path) -> Result<Vec<Stored>> {
        Err(Error::format(path, "igpt was built without the feature `archives`: save it as safetensors"))
    }
}
