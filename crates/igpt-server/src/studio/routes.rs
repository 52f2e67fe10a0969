//! Routes of the API, and the middleware that every request passes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::HttpBody;
use axum::extract::{ConnectInfo, DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use futures_util::StreamExt;
use serde::Serialize;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::too_large;
use super::model::ModelFacts;
use super::state::{Shared, Slot};
use super::worker::Busy;
use super::{analysis, drawing, features, inspecting};
use crate::assets;
use crate::http::guard;
use crate::refusal::{Problem, Refusal};

/// Time in which the body of a request that is already refused is still received.
const LINGER: Duration = Duration::from_secs(1);

/// The API's document, without its routes.
#[derive(OpenApi)]
#[openapi(info(
    title = "igpt",
    description = "Generative pretraining from pixels: samples, completions, likelihood, features and classes of a model. \
                   Images are files in base64, or tokens of the model's palette in raster order."
))]
struct Document;

/// Router of all paths.
pub(super) fn router(shared: Shared, ui: bool) -> Router {
    let drawing = OpenApiRouter::new().routes(routes!(drawing::sample)).routes(routes!(drawing::complete));
    let analysis = OpenApiRouter::new()
        .routes(routes!(analysis::quantize))
        .routes(routes!(analysis::score))
        .routes(routes!(inspecting::inspect))
        .routes(routes!(analysis::predict))
        .routes(routes!(features::embed))
        .routes(routes!(analysis::classify))
        .routes(routes!(features::neighbors));
    let guarded = OpenApiRouter::new()
        .merge(drawing)
        .merge(analysis)
        .layer(DefaultBodyLimit::max(shared.limits.body))
        .layer(middleware::from_fn_with_state(shared.clone(), bounded))
        .routes(routes!(models))
        .routes(routes!(metrics))
        .layer(middleware::from_fn_with_state(shared.clone(), one_of_few))
        .layer(middleware::from_fn_with_state(shared.access.clone(), guard));
    let open = OpenApiRouter::with_openapi(Document::openapi()).routes(routes!(health)).routes(routes!(ready));
    let (router, mut document) = open.merge(guarded).split_for_parts();
    let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    document.components.get_or_insert_default().add_security_scheme("token", bearer);
    let document = async move || Json(document.clone());
    let pages = if ui { assets::router(assets::STUDIO) } else { Router::new() };
    let watched = middleware::from_fn_with_state(shared.clone(), watched);
    router.route("/openapi.json", axum::routing::get(document)).merge(pages).route_layer(watched).with_state(shared)
}

/// Middleware that refuses a body with too large a declared length.
async fn bounded(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let announced = request.body().size_hint().lower();
    if announced > shared.limits.body as u64 {
        // A client that is cut off in the middle may not read the reason.
        let mut data = request.into_body().into_data_stream();
        let _ = tokio::time::timeout(LINGER, async { while let Some(Ok(_)) = data.next().await {} }).await;
        return too_large().into_response();
    }
    next.run(request).await
}

/// Middleware that counts every answer.
async fn watched(State(shared): State<Shared>, path: MatchedPath, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let response = next.run(request).await;
    shared.metrics.answered(path.as_str(), response.status().as_u16(), begun.elapsed());
    response
}

/// Middleware that limits the number of open requests per client.
async fn one_of_few(
    State(shared): State<Shared>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(slot) = Slot::take(&shared, address.ip()) else {
        let most = shared.limits.per_client;
        let error = format!("you have {most} requests under way, the most at a time: wait for one of them");
        return Refusal::new(StatusCode::TOO_MANY_REQUESTS, error).into_response();
    };
    let slot = Arc::new(slot);
    request.extensions_mut().insert(slot.clone());
    let mut response = next.run(request).await;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The models that are served: one.
#[derive(Serialize, ToSchema)]
struct Models {
    models: Vec<ModelFacts>,
}

/// What is served, and what can be asked of it.
#[utoipa::path(get, path = "/v1/models", responses(
    (status = 200, body = Models, description = "The model"),
    (status = "4XX", body = Problem, description = "Why not"),
))]
async fn models(State(shared): State<Shared>) -> Json<Models> {
    Json(Models { models: vec![shared.served.facts(&shared.limits, shared.worker.rows())] })
}

/// Whether the server lives.
#[utoipa::path(get, path = "/healthz", responses((status = 200, body = String, description = "It does")))]
async fn health() -> &'static str {
    "ok"
}

/// Whether the server takes requests.
#[utoipa::path(get, path = "/readyz", responses(
    (status = 200, body = String, description = "It does"),
    (status = 500, body = Problem, description = "Its engine has stopped"),
    (status = 503, body = Problem, description = "Its queue is full"),
))]
async fn ready(State(shared): State<Shared>) -> Result<&'static str, Refusal> {
    let standing = shared.worker.standing();
    match standing.alive {
        false => Err(Refusal::dead()),
        true if standing.waiting >= shared.limits.queue => Err(Busy::Full.into()),
        true => Ok("ready"),
    }
}

/// Figures for Prometheus.
#[utoipa::path(get, path = "/metrics", responses(
    (status = 200, body = String, content_type = "application/openmetrics-text", description = "In their text format"),
    (status = "4XX", body = Problem, description = "Why not"),
))]
async fn metrics(State(shared): State<Shared>) -> Response {
    let kind = [(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    (kind, shared.metrics.text(shared.worker.standing())).into_response()
}
