//! Data parallelism over several processes (ranks): collective operations, and checks of what ranks must have in
//! common.

pub(crate) mod collective;
mod communicator;
pub(crate) mod expect_same;
pub(crate) mod losses;
mod transport;

pub use collective::Collective;
pub use expect_same::{expect_same_model, expect_same_program, in_turn};
pub use transport::Transport;
