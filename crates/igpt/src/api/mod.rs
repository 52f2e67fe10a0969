//! Where a user of the library begins: [`Pretrain`] and [`Finetune`] train, a [`Model`] is used.

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
