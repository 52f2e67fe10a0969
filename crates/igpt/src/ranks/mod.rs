//! Data parallelism over several processes (ranks): collective operations, and checks of what ranks must have in
//! common.
//!
//! ```
//! use igpt::ranks::Collective;
//!
//! # fn main() -> igpt::Result<()> {
//! let mut ranks = Collective::solo(); // a program for several processes brings its own Transport
//! assert!(ranks.is_leader() && ranks.shard(10) == (0..10));
//! assert_eq!(ranks.gather(b"mine")?, [b"mine".to_vec()]);
//! # Ok(())
//! # }
//! ```

pub(crate) mod collective;
mod communicator;
pub(crate) mod expect_same;
pub(crate) mod losses;
mod transport;

pub use collective::Collective;
pub use expect_same::{expect_same_model, expect_same_program, leader_first};
pub use transport::Transport;
