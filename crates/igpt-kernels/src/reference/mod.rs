//! Reference implementations: textbook loops that define every operation and that all kernels are tested against.
//!
//! Sums are f64, and nothing is fast or clever: one file per operation, forward and backward, never dispatched.

pub mod activation;
pub mod adam;
pub mod attention;
pub mod cross_entropy;
pub mod embedding;
pub mod matmul;
pub mod muon;
pub mod norm;
