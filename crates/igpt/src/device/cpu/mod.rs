//! The CPU backend, written by hand: forward pass, backward pass, decoding and the optimizer.
//!
//! These modules decide which pieces of work run in parallel; the crate `igpt-kernels` computes each piece. Reading
//! order: `backend`, `engine` (inference), `forward`, `head`, `classes`, `training`, `backward` with `weights`,
//! `update` with `rule`, `adam` and `muon`, `decoder`. `layout`, `model` and `workspace` hold the data that they work
//! on.

mod adam;
mod backend;
mod backward;
mod classes;
mod context;
mod decoder;
mod dims;
mod engine;
mod forward;
mod head;
mod layout;
mod memory;
mod model;
mod muon;
mod packing;
mod rule;
mod rules;
mod setup;
mod training;
mod tree;
mod update;
mod weights;
mod workspace;

#[cfg(test)]
mod tests;

pub use backend::CpuBackend;
