//! No answer has a number that is none: JSON would have `null` for it, and a client would take that for something else.

use super::state::Shared;
use crate::refusal::Refusal;

/// Refuses `what` the model says of an image of the request (`index` is its place) where a value is NaN or infinite.
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
