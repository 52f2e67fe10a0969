//! Numerical kernels of image GPT on slices, forward and backward.
//!
//! This is the one crate of the workspace that contains `unsafe` (SIMD, disjoint views for the thread pool, read-only
//! file maps), all of it behind a safe API. Kernels are single-threaded pure functions: scratch memory comes in as an
//! argument, and a wrong shape panics. The caller decides what runs in parallel; the [`pool`] only runs it.
//!
//! The modules in reading order: `isa` (what the processor can do), `mat` (views), [`matmul`] (the one micro-kernel and
//! the products built on it), [`attention`], then the element-wise operations, and [`mod@reference`]: the textbook
//! loops that define every operation and that all kernels are tested against.

pub mod activation;
pub mod adam;
mod amx;
pub mod attention;
mod buffer;
pub mod convert;
pub mod cross_entropy;
pub mod embedding;
mod instances;
mod isa;
pub mod map;
mod mat;
pub mod matmul;
pub mod muon;
pub mod newton_schulz;
pub mod norm;
pub mod peak;
pub mod pool;
pub mod reduce;
pub mod reference;
mod scalar;
pub mod simd;
#[cfg(test)]
mod testing;

pub use buffer::Buffer;
pub use half::bf16;
pub use isa::{Isa, UnknownIsa};
pub use mat::{MatMut, MatRef};
pub use scalar::Scalar;

/// Number of columns of which every matrix width must be a multiple; the columns beyond the data are zero padding.
pub const LANE_PAD: usize = 32;
