//! Several processes that work as one: who they are and the sums that they make (`collective`), what they must have in
//! common, and what they find on their parts of some images.

pub(crate) mod collective;
mod communicator;
pub(crate) mod expect_same;
pub(crate) mod losses;
mod transport;

pub use collective::Collective;
pub use expect_same::{expect_same_model, expect_same_program, in_turn};
pub use transport::Transport;
