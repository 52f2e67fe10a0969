//! No answer has a number that is none: JSON would have `null` for it, and a client would take that for something else.

use axum::http::StatusCode;

use super::model::Served;
use crate::http::{Refusal, log};

/// Refuses `what` the model says of an image of the request (`index` is its place) where a value is NaN or infinite.
pub(super) fn expect_finite(
    served: &Served,
    what: &str,
    index: Option<usize>,
    values: impl IntoIterator<Item = f64>,
) -> Result<(), Refusal> {
    let Some(value) = values.into_iter().find(|value| !value.is_finite()) else { return Ok(()) };
    let image = index.map_or("the image".into(), |index| format!("image {index} of the request"));
    let name = &served.name;
    let error = format!(
        "the model {name} gives {what} of {value} for {image}, which is no number: its weights are damaged, or it was \
         not trained to the end"
    );
    log(&error);
    Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error))
}
