//! What both servers share: errors as JSON, strict headers, and serving until told to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{
    CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use igpt::{Error, Result};
use serde::Serialize;
use tokio::net::TcpListener;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::ToSchema;

use crate::Access;

/// Between looks at whether the server is to stop.
const GLANCE: Duration = Duration::from_millis(50);
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
            _ => {
                tracing::error!("{error}");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "something failed here: the server's log says what")
            }
        }
    }
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

/// Adds what every answer has: strict headers, an answer where a handler panicked, and one where nothing is.
pub(crate) fn finish(router: Router) -> Router {
    let nothing =
        || async { Refusal::new(StatusCode::NOT_FOUND, "nothing is here: see /openapi.json, or the page at /") };
    let wrong = || async { Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "this path wants another method") };
    let panicked = |_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "something failed here").into_response();
    let header = |name: HeaderName, value| SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value));
    router
        .fallback(nothing)
        .method_not_allowed_fallback(wrong)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(header(CONTENT_SECURITY_POLICY, POLICY))
        .layer(header(X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(header(X_FRAME_OPTIONS, "DENY"))
        .layer(header(REFERRER_POLICY, "no-referrer"))
        .layer(header(HeaderName::from_static("cross-origin-resource-policy"), "same-origin"))
}

/// Serves `router` until `stop` is raised, then for `grace` at most what is under way. `ready` is told the address.
/// Gives whether all that was under way came to its end.
pub(crate) async fn run(
    router: Router,
    listen: SocketAddr,
    stop: Arc<AtomicBool>,
    grace: Duration,
    ready: &mut dyn FnMut(SocketAddr),
) -> Result<bool> {
    let taken = |e| Error::Invalid(format!("{listen} can't be listened on ({e}): choose another address or port"));
    let listener = TcpListener::bind(listen).await.map_err(taken)?;
    ready(listener.local_addr().map_err(taken)?);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let serving = axum::serve(listener, service).with_graceful_shutdown(raised(stop.clone())).into_future();
    tokio::select! {
        served = serving => served.map(|()| true).map_err(taken),
        () = async { raised(stop).await; tokio::time::sleep(grace).await } => Ok(false),
    }
}

/// Waits until `stop` is raised.
async fn raised(stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(GLANCE).await;
    }
}
