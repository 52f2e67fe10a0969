//! Ranks that talk over MPI: OpenMPI or MPICH as the system has them, started by its `mpirun`.
//!
//! Only messages between two ranks are asked of it; what is summed in which order is the
//! [`Collective`](igpt::ranks::Collective)'s. Nothing here waits inside the library: requests are tested and the time
//! between is slept, so that more ranks than cores get along, and so that a rank that has died or hangs is noticed and
//! named (`watch`).

mod end;
mod join;
mod transport;
mod watch;

pub use join::join;
