//! The live page of a training run, made of the run directory's files alone: so it shows a run of this process, of
//! another one, or one that is over, and outlives the trainer.

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
