//! Which path leads where, and what happens to every request on its way.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::HttpBody;
use axum::extract::{ConnectInfo, DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use futures_util::StreamExt;
use igpt::device::Engine;
use igpt::text::printable;
use serde::Serialize;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::too_large;
use super::decoding::Decoding;
use super::metrics::{Metrics, Open};
use super::model::{ModelFacts, Served};
use super::worker::{Busy, Worker};
use super::{Limits, drawing, judging};
use crate::http::{Problem, Refusal, guard, log};
use crate::{Access, assets};

/// Time in which a body is still taken in that is refused already.
const LINGER: Duration = Duration::from_secs(1);

/// What every handler needs.
#[derive(Clone)]
pub(super) struct Shared(Arc<Inner>);

pub(super) struct Inner {
    pub(super) served: Served,
    pub(super) worker: Worker,
    pub(super) limits: Limits,
    pub(super) metrics: Metrics,
    pub(super) decoding: Decoding,
    access: Arc<Access>,
    clients: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Deref for Shared {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Shared {
    pub(super) fn new(served: Served, worker: Worker, access: Arc<Access>, limits: Limits) -> Self {
        let (metrics, decoding, clients) = (Metrics::new(), Decoding::new(limits.queue), Arc::default());
        Self(Arc::new(Inner { served, worker, limits, metrics, decoding, access, clients }))
    }

    /// When a request that has come whole now must be answered.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + Duration::from_secs(self.limits.seconds)
    }

    /// Of a request that was not answered by then.
    pub(super) fn late(&self) -> Refusal {
        let seconds = self.limits.seconds;
        let error = format!("not finished within {seconds} s, the most that a request may take here: ask for less");
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error)
    }

    /// Of the engine: what was asked for had been found possible, so it is no fault of whoever asks.
    fn failed(&self, index: Option<usize>, error: igpt::Error) -> Refusal {
        match error {
            // Errors of files have paths in them.
            igpt::Error::Io { .. } | igpt::Error::Format { .. } => Refusal::failed(&error),
            error => self.not_computed(index, &error.to_string()),
        }
    }

    /// The same, in words.
    pub(super) fn not_computed(&self, index: Option<usize>, problem: &str) -> Refusal {
        let about = index.map_or(String::new(), |index| format!(" about image {index} of the request"));
        let problem = format!("the model {} has no answer{about}: {problem}", self.served.name);
        log(&problem);
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, printable(&problem))
    }

    /// What `work` gives with the engine, when it is its turn; `index` is the place in the request of the image that it
    /// is about.
    pub(super) async fn pass<T: Send + 'static>(
        &self,
        deadline: Instant,
        index: Option<usize>,
        work: impl FnOnce(&mut dyn Engine) -> igpt::Result<T> + Send + 'static,
    ) -> Result<T, Refusal> {
        let done = tokio::time::timeout_at(deadline.into(), self.worker.pass(work)).await.map_err(|_| self.late())?;
        done?.map_err(|error| self.failed(index, error))
    }
}

impl Refusal {
    /// The engine's thread is gone.
    pub(super) fn dead() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the engine has stopped: start the server again")
    }
}

impl From<Busy> for Refusal {
    fn from(busy: Busy) -> Self {
        match busy {
            Busy::Full => Self::new(StatusCode::SERVICE_UNAVAILABLE, "too much is waiting here: ask again in a moment"),
            Busy::Dead => Self::dead(),
        }
    }
}

/// The API's document, without its routes.
#[derive(OpenApi)]
#[openapi(info(
    title = "igpt",
    description = "Generative pretraining from pixels: samples, completions, likelihood, features and classes of a model. \
                   Images are files in base64, or tokens of the model's palette in raster order."
))]
struct Document;

/// All routes.
pub(super) fn router(shared: Shared, ui: bool) -> Router {
    let drawing = OpenApiRouter::new().routes(routes!(drawing::sample)).routes(routes!(drawing::complete));
    let judging = OpenApiRouter::new()
        .routes(routes!(judging::quantize))
        .routes(routes!(judging::score))
        .routes(routes!(judging::predict))
        .routes(routes!(judging::embed))
        .routes(routes!(judging::classify))
        .routes(routes!(judging::neighbors));
    let guarded = OpenApiRouter::new()
        .merge(drawing)
        .merge(judging)
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

/// Refuses a body that is announced too large.
async fn bounded(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let announced = request.body().size_hint().lower();
    if announced > shared.limits.body as u64 {
        // A client that is cut off in the middle may not read why.
        let mut data = request.into_body().into_data_stream();
        let _ = tokio::time::timeout(LINGER, async { while let Some(Ok(_)) = data.next().await {} }).await;
        return too_large().into_response();
    }
    next.run(request).await
}

/// Counts every answer.
async fn watched(State(shared): State<Shared>, path: MatchedPath, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let response = next.run(request).await;
    shared.metrics.answered(path.as_str(), response.status().as_u16(), begun.elapsed());
    response
}

/// What a request holds until it is over, its stream included.
pub(super) struct Slot {
    _open: Open,
    _turn: Option<Turn>,
}

/// One of the requests that a client may have under way.
struct Turn {
    client: IpAddr,
    clients: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Turn {
    fn take(shared: &Inner, client: IpAddr) -> Option<Self> {
        let clients = shared.clients.clone();
        let mut counts = clients.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(client).or_default();
        if *count >= shared.limits.per_client {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Self { client, clients })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut counts = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.client);
            }
        }
    }
}

/// Lets a client have only so many requests under way.
async fn one_of_few(
    State(shared): State<Shared>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let most = shared.limits.per_client;
    let turn = if most == 0 { Ok(None) } else { Turn::take(&shared, address.ip()).map(Some).ok_or(()) };
    let Ok(turn) = turn else {
        let error = format!("you have {most} requests under way, the most at a time: wait for one of them");
        return Refusal::new(StatusCode::TOO_MANY_REQUESTS, error).into_response();
    };
    let slot = Arc::new(Slot { _open: shared.metrics.opened(), _turn: turn });
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
