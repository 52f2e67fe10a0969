//! The engine against PyTorch: tiny models of several shapes.
//!
//! The fixtures in `testdata/goldens` come from `testdata/make_goldens.py`, whose head gives the formula of the
//! weights and tokens and says how a tensor is summarised. With `IGPT_PRINT_ERRORS` in the environment every error is
//! printed.

mod adam;
mod fine;
mod fixture;
mod muon;

pub use adam::{bf16_agrees_with_pytorch_within_its_rounding, f32_agrees_with_pytorch};
pub use fine::{
    bf16_agrees_with_pytorch_on_masks_and_classes_within_its_rounding, f32_agrees_with_pytorch_on_masks_and_classes,
};
pub use muon::{bf16_agrees_with_pytorch_on_muon_within_its_rounding, f32_agrees_with_pytorch_on_muon};

/// Panics with every error that is above its budget.
// What a test measures is for whoever runs it.
#[allow(clippy::disallowed_macros)]
fn expect_within(errors: Vec<(String, f64, f64)>) {
    if std::env::var_os("IGPT_PRINT_ERRORS").is_some() {
        errors.iter().for_each(|(name, error, budget)| eprintln!("{name}: {error:.2e} of {budget:.0e}"));
    }
    let beyond = errors.into_iter().filter(|(_, error, budget)| error.is_nan() || error > budget);
    let beyond: Vec<_> =
        beyond.map(|(name, error, budget)| format!("{name} is off by {error:.1e}, budget {budget:.1e}")).collect();
    assert!(beyond.is_empty(), "{}", beyond.join("\n"));
}
