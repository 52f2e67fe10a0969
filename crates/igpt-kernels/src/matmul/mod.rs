//! Matrix products: one micro-kernel, and the products built on it.
//!
//! A right operand is packed once into [`Panels`]. A left operand is read where it is ([`matmul`]), or packed during
//! the product ([`matmul_tn`], whose sum runs down the rows of both). Products with few columns pack nothing
//! ([`matmul_narrow`]). Every element is summed in an order fixed by the shapes of its own row and column alone, so
//! results don't depend on how rows and columns are divided.

mod forward;
mod int8;
mod micro;
mod narrow;
mod out;
mod panels;
#[cfg(test)]
mod tests;
mod tn;

pub use crate::amx::TILE_UNITS;
pub use forward::matmul;
pub use int8::{QuantizedPanels, QuantizedRows, matmul_int8};
pub use micro::{Tile, run_rows, tile};
pub use narrow::{STRIP_COLS, matmul_narrow, matmul_tn_narrow};
pub use out::Out;
pub(crate) use panels::transpose;
pub use panels::{Panels, PanelsRef, pack_panel, pack_tokens};
pub use tn::{TOKEN_BLOCK, TnScratch, matmul_tn};

/// Kernels that the format's [`Instances`](crate::instances::Instances) run.
pub(crate) mod kernels {
    pub(crate) use super::forward::Product;
    pub(crate) use super::int8::{Fill as Fill8, Product as Product8};
    pub(crate) use super::panels::{Straight, Tokens, Transposed};
    pub(crate) use super::tn::Sum;
}

/// Number of columns in one panel of a packed right operand.
pub const PANEL_COLS: usize = crate::LANE_PAD;
