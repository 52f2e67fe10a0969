//! Check that no answer contains NaN or infinity: JSON would have `null` for it, which clients would misread.

use super::state::Shared;
use crate::refusal::Refusal;

/// Refuses to answer if a value of `what`, computed for the image at `index` of the request, is NaN or infinite.
pub(super) fn expect_finite(
    shared: &Shared,
    what: &str,
    index: Option<usize>,
    values: impl IntoIterator<Item = f64>,
) -> Result<(), Refusal> {
    match values.into_iter().find(|value| !value.is_finite()) {
        Some(value) => {
            let problem = format!("{what} is {value}, which is no number; its weights are damaged");
            Err(shared.not_computed(index, &problem))
        }
        None => Ok(()),
    }
}
