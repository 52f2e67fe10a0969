//! Common parts of all answers of both servers: strict headers, and no answers to other sites' pages.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::access::Access;
use crate::origin;
use crate::refusal::Refusal;

/// Content security policy: pages load nothing from elsewhere, run only their own scripts, and can't be framed.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
                      connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Middleware that admits only requests with the right token.
pub(crate) async fn guard(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    if access.admits(request.headers()) {
        return next.run(request).await;
    }
    let refusal = Refusal::new(StatusCode::UNAUTHORIZED, "a token is wanted: send it as Authorization: Bearer TOKEN");
    refusal.into_response()
}

/// Middleware that refuses requests under a foreign host name, or from another site's page.
async fn gate(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    match origin::check(&access, &request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// Adds the common layers: strict headers, an answer when a handler panics, one for unknown paths, and refusal of other
/// sites' pages.
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
