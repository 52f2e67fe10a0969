//! File formats, each in a module of its own: pictures, arrays, and tensors of other programs.
//!
//! Files from elsewhere are not trusted: sizes are checked before memory is allocated, and pickles run nothing.

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
#[cfg(not(feature = "archives"))]
#[path = "torch_bin_absent.rs"]
pub(crate) mod torch_bin;
