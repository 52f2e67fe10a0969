//! Images in: sources, splits, augmentation, and the loader that hands batches of tokens to the trainer.

pub mod batch;
pub mod pixels;

pub use batch::Batch;
pub use pixels::Pixels;
