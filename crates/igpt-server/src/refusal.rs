//! Errors as answers: a status and a sentence in JSON.

use axum::Json;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use igpt::Error;
use igpt::text::printable;
use serde::Serialize;
use utoipa::ToSchema;

/// Error of a request, to be sent to the client.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) error: String,
}

/// The body of every answer that is none.
#[derive(Serialize, ToSchema)]
pub(crate) struct Problem {
    /// What is wrong and what to do, in a sentence.
    error: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into() }
    }

    /// Refuses a request that can't be fulfilled.
    pub(crate) fn bad(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }
}

impl From<Error> for Refusal {
    /// Uses the library's message, unless it is about a local file: no path leaves this machine.
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(_) | Error::Mismatch(_) | Error::Missing(_) => Self::bad(error.to_string()),
            _ => Self::failed(&error),
        }
    }
}

impl Refusal {
    /// Reports a failure on this side, whose cause only the log may contain.
    pub(crate) fn failed(error: &Error) -> Self {
        log(&error.to_string());
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "something failed here: the server's log says what")
    }
}

/// Writes a failure to the log, in one line whatever names it contains.
pub(crate) fn log(problem: &str) {
    tracing::error!("{}", printable(problem).replace('\n', "\\n"));
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(Problem { error: self.error })).into_response();
        if matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
