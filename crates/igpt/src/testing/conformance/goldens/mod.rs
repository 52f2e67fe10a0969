//! Claims that the engine agrees with PyTorch on tiny models of several shapes.
//!
//! The fixtures in `testdata/goldens` come from `testdata/make_goldens.py`, whose head gives the formula of the
//! weights and tokens and describes the summary of a tensor. With `IGPT_PRINT_ERRORS` in the environment, every error
//! is printed.

mod adam;
mod fine;
mod fixture;
mod muon;

pub use adam::{bf16_agrees_with_pytorch_within_its_rounding, f32_agrees_with_pytorch};
pub use fine::{
    bf16_agrees_with_pytorch_on_masks_and_classes_within_its_rounding, f32_agrees_with_pytorch_on_masks_and_classes,
};
pub use muon::{bf16_agrees_with_pytorch_on_muon_within_its_rounding, f32_agrees_with_pytorch_on_muon};
