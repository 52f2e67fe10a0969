//! Several processes that work as one: who they are and the sums that they make ([`collective`]), what they must have in
//! common, and what they find on their parts of some images.

pub mod collective;
pub(crate) mod losses;
pub mod same;
mod talk;
mod transport;

pub use collective::Collective;
pub use same::{expect_same_model, expect_same_program, in_turn};
pub use transport::Transport;
