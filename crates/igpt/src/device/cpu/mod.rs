//! The hand-written engine on the processor: forward, backward, decoding and the optimizer.
//!
//! Which pieces of work run in parallel is decided here; what a piece computes is in `igpt-kernels`. Reading order:
//! `backend`, `engine` (inference), `forward`, `head`, `classes`, `training`, `backward` with `weights`, `update` with
//! `rule`, `adam` and `muon`, `decoder`; `layout`, `model` and `workspace` are what they work on.

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
