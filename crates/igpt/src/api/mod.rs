//! Entry points of the library: the builders [`Pretrain`] and [`Finetune`], and [`Model`] for their results.

mod finetune;
mod model;
mod pretrain;
mod prompt;
mod scratch;
mod training;

pub use finetune::Finetune;
pub use model::{Features, Model};
pub use pretrain::Pretrain;
pub use prompt::Prompt;
