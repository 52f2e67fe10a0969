//! Model directories in Hugging Face's ImageGPT layout, the only form in which igpt keeps finished models.
//!
//! transformers opens what igpt saved, and igpt opens what transformers saved. Files from elsewhere are not trusted:
//! sizes are checked before memory is allocated, and pickles execute nothing.

mod bundled;
mod card;
mod json;
mod model_dir;
mod settings;
#[cfg(test)]
mod tests;
mod weights;

pub use card::ModelCard;
pub(crate) use model_dir::INSPECTION;
pub(crate) use model_dir::is_inspection;
pub use model_dir::{ModelDir, PARITY_RECORDING};
pub use weights::SaveType;
