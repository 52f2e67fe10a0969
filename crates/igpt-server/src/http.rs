//! What all answers of both servers share: errors as JSON, strict headers, and no answer to other sites' pages.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use igpt::Error;
use igpt::text::printable;
use serde::Serialize;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::ToSchema;

use crate::{Access, origin};

/// Pages load nothing from elsewhere, run only their own scripts and are shown in no frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
                      connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What went wrong, for whoever asked.
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

    /// Of a request that says what can't be done.
    pub(crate) fn bad(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }
}

impl From<Error> for Refusal {
    /// The library's message, unless it is about a file here: no path leaves this machine.
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(_) | Error::Mismatch(_) | Error::Missing(_) => Self::bad(error.to_string()),
            _ => Self::failed(&error),
        }
    }
}

impl Refusal {
    /// Of something that failed here and that only the log may tell of.
    pub(crate) fn failed(error: &Error) -> Self {
        log(&error.to_string());
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "something failed here: the server's log says what")
    }
}

/// Notes a failure in the log, in one line whatever names are in it.
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

/// Lets in who may come in.
pub(crate) async fn guard(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    if access.admits(request.headers()) {
        return next.run(request).await;
    }
    let refusal = Refusal::new(StatusCode::UNAUTHORIZED, "a token is wanted: send it as Authorization: Bearer TOKEN");
    refusal.into_response()
}

/// Answers nobody who asks under a foreign name or from another site's page.
async fn gate(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    match origin::check(&access, &request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// Adds what every answer has: strict headers, an answer where a handler panicked, one where nothing is, and none for
/// other sites.
pub(crate) fn finish(router: Router, access: Arc<Access>) -> Router {
    let nothing =
        || async { Refusal::new(StatusCode::NOT_FOUND, "nothing is here: see /openapi.json, or the page at /") };
    let wrong = || async { Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "this path wants another method") };
    let panicked = |_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "something failed here").into_response();
    let header = |name: HeaderName, value| SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value));
    router
        .fallback(nothing)
        .method_not_allowed_fallback(wrong)
        .layer(middleware::from_fn_with_state(access, gate))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(header(CONTENT_SECURITY_POLICY, POLICY))
        .layer(header(X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(header(X_FRAME_OPTIONS, "DENY"))
        .layer(header(REFERRER_POLICY, "no-referrer"))
        .layer(header(HeaderName::from_static("cross-origin-resource-policy"), "same-origin"))
}
