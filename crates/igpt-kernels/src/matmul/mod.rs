//! Matrix products: one micro-kernel and what is built on it.

mod micro;

pub use micro::{Tile, run_rows, tile};
