//! Live page of a training run.
//!
//! It uses only the files of the run directory. It can therefore show a run of this process, of another process, or one
//! that is over, and it outlives the trainer.

mod baselines;
mod curves;
mod ending;
mod feed;
mod inside;
mod page;
mod palette;
mod pictures;
mod serve;
mod snapshot;

pub use self::page::LivePage;
pub use self::serve::watch;
