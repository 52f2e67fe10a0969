//! Bytes of files to values and back, each format in a file of its own: pictures, arrays, and tensors of other programs.
//!
//! Files from elsewhere are not trusted: sizes are checked before memory is taken, and pickles run nothing.

pub mod decode;
pub mod gif;
pub(crate) mod lfs;
pub mod npy;
mod pickle;
pub mod png;
pub(crate) mod safetensors;
pub(crate) mod stored;
pub(crate) mod torch_bin;
