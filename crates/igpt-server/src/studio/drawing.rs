//! Handlers of `/v1/sample` and `/v1/complete`: unconditional samples, and completion of an image's missing pixels.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use igpt::generate::SamplingSettings;
use serde::Deserialize;
use utoipa::ToSchema;

use super::body::Body;
use super::generation::{GenerationSpec, GenerationStream, Pictures, begin};
use super::images::{self, EXAMPLE};
use super::state::{Shared, Slot};
use super::stream::{self, SentEvent};
use super::whole;
use crate::refusal::{Problem, Refusal};

/// Images from nothing.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SampleRequest {
    /// How many.
    #[serde(default, deserialize_with = "whole::perhaps")]
    #[schema(default = 1, minimum = 1)]
    n: Option<usize>,
    /// The first image's number: image i of a seed is always the same image.
    #[serde(default, deserialize_with = "whole::perhaps")]
    #[schema(default = 0, maximum = 4294967295u32)]
    first_image: Option<u64>,
    /// Seed of everything random: the same seed gives the same images, whoever else is served.
    #[serde(default, deserialize_with = "whole::perhaps")]
    #[schema(default = 0)]
    seed: Option<u64>,
    /// Logits are divided by this; 0 always takes the likeliest colour.
    #[schema(default = 1.0, minimum = 0)]
    temperature: Option<f64>,
    /// Draw only among the k likeliest colours; 0 is all.
    #[serde(default, deserialize_with = "whole::perhaps")]
    #[schema(default = 0)]
    top_k: Option<usize>,
    /// Draw only among the likeliest colours that together reach this probability.
    #[schema(default = 1.0, exclusive_minimum = 0, maximum = 1)]
    top_p: Option<f64>,
    /// Whether pixels are sent as they are drawn, as server-sent events.
    #[schema(default = false)]
    stream: Option<bool>,
}

/// The rest of an image: after its first rows, or inside a mask.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CompleteRequest {
    /// A file in base64: PNG, JPEG, WebP, GIF, BMP or TIFF of any size.
    #[schema(example = json!(EXAMPLE))]
    image: Option<String>,
    /// Or its tokens in raster order.
    #[serde(default, deserialize_with = "whole::perhaps_list")]
    tokens: Option<Vec<u16>>,
    /// How many rows are known; half of them if neither this nor a mask is given.
    #[serde(default, deserialize_with = "whole::perhaps")]
    rows: Option<usize>,
    /// Or which pixels are to be drawn, in raster order; all others are kept.
    mask: Option<Vec<bool>>,
    /// How many completions.
    #[serde(default, deserialize_with = "whole::perhaps")]
    #[schema(default = 1, minimum = 1)]
    completions: Option<usize>,
    /// Candidates of each completion, where known pixels come after a hole.
    #[serde(default, deserialize_with = "whole::perhaps")]
    #[schema(default = 16, minimum = 1)]
    candidates: Option<usize>,
    /// Rounds in which a masked model fills the hole.
    #[serde(default, deserialize_with = "whole::perhaps")]
    #[schema(default = 16, minimum = 1)]
    steps: Option<usize>,
    /// The image's number: completion j of image i of a seed is always the same.
    #[serde(default, deserialize_with = "whole::perhaps")]
    #[schema(default = 0, maximum = 4294967295u32)]
    first_image: Option<u64>,
    /// Seed of everything random: the same seed gives the same completions, whoever else is served.
    #[serde(default, deserialize_with = "whole::perhaps")]
    #[schema(default = 0)]
    seed: Option<u64>,
    /// Logits are divided by this; 0 always takes the likeliest colour.
    #[schema(default = 1.0, minimum = 0)]
    temperature: Option<f64>,
    /// Draw only among the k likeliest colours; 0 is all.
    #[serde(default, deserialize_with = "whole::perhaps")]
    #[schema(default = 0)]
    top_k: Option<usize>,
    /// Draw only among the likeliest colours that together reach this probability.
    #[schema(default = 1.0, exclusive_minimum = 0, maximum = 1)]
    top_p: Option<f64>,
    /// Whether pixels are sent as they are drawn, as server-sent events.
    #[schema(default = false)]
    stream: Option<bool>,
}

/// Settings of sampling, with the documented defaults for fields that are missing or `null`.
fn settings(temperature: Option<f64>, top_k: Option<usize>, top_p: Option<f64>, seed: Option<u64>) -> SamplingSettings {
    SamplingSettings::default()
        .temperature(temperature.unwrap_or(1.0))
        .top_k(top_k.unwrap_or(0))
        .top_p(top_p.unwrap_or(1.0))
        .seed(seed.unwrap_or(0))
}

/// Draws images from nothing.
#[utoipa::path(
    post,
    path = "/v1/sample",
    request_body(content((SampleRequest = "application/json"), (SampleRequest = "multipart/form-data"))),
    responses(
        (status = 200, description = "The images, or events while they are drawn", content((Pictures = "application/json"), (SentEvent = "text/event-stream"))),
        (status = "4XX", body = Problem, description = "Why this can't be done"),
        (status = "5XX", body = Problem, description = "Too busy, or something failed"),
    )
)]
pub(super) async fn sample(
    State(shared): State<Shared>,
    Extension(slot): Extension<Arc<Slot>>,
    Body(request): Body<SampleRequest>,
) -> Result<Response, Refusal> {
    let SampleRequest { n, first_image, seed, temperature, top_k, top_p, stream } = request;
    let (settings, n, image) = (settings(temperature, top_k, top_p, seed), n.unwrap_or(1), first_image.unwrap_or(0));
    let known = vec![None; shared.served.config.n_ctx()];
    let spec = GenerationSpec { known, image, n, images: true, candidates: None, steps: None, settings };
    let deadline = shared.deadline();
    respond(begin(shared, spec, deadline)?, stream.unwrap_or(false), slot).await
}

/// Draws what is missing of an image.
#[utoipa::path(
    post,
    path = "/v1/complete",
    request_body(content((CompleteRequest = "application/json"), (CompleteRequest = "multipart/form-data"))),
    responses(
        (status = 200, description = "The completions, or events while they are drawn", content((Pictures = "application/json"), (SentEvent = "text/event-stream"))),
        (status = "4XX", body = Problem, description = "Why this can't be done"),
        (status = "5XX", body = Problem, description = "Too busy, or something failed"),
    )
)]
pub(super) async fn complete(
    State(shared): State<Shared>,
    Extension(slot): Extension<Arc<Slot>>,
    Body(request): Body<CompleteRequest>,
) -> Result<Response, Refusal> {
    let CompleteRequest { completions, candidates, steps, first_image, seed, stream, .. } = request;
    let settings = settings(request.temperature, request.top_k, request.top_p, seed);
    let (n, image, deadline) = (completions.unwrap_or(1), first_image.unwrap_or(0), shared.deadline());
    let missing = missing(&shared, request.rows, request.mask)?;
    let tokens = images::one(&shared, deadline, request.image, request.tokens).await?;
    let known = tokens.iter().zip(&missing).map(|(token, missing)| (!missing).then_some(*token)).collect();
    let spec = GenerationSpec { known, image, n, images: false, candidates, steps, settings };
    respond(begin(shared, spec, deadline)?, stream.unwrap_or(false), slot).await
}

/// Mask of the pixels to draw.
fn missing(shared: &Shared, rows: Option<usize>, mask: Option<Vec<bool>>) -> Result<Vec<bool>, Refusal> {
    let (size, n_ctx) = (shared.served.config.n_px, shared.served.config.n_ctx());
    match (rows, mask) {
        (Some(_), Some(_)) => Err(Refusal::bad("give rows or a mask, not both")),
        (None, Some(mask)) if mask.len() != n_ctx => {
            Err(Refusal::bad(format!("a mask of {} pixels, but the model's images have {n_ctx}", mask.len())))
        }
        (None, Some(mask)) if !mask.contains(&true) => {
            Err(Refusal::bad("the mask keeps all pixels: there is nothing to draw"))
        }
        (None, Some(mask)) => Ok(mask),
        (Some(rows), None) if rows >= size.height => Err(Refusal::bad(format!(
            "rows: {rows} known rows leave nothing to draw, give at most {}",
            size.height - 1
        ))),
        (rows, None) => {
            let known = rows.unwrap_or(size.height / 2) * size.width;
            Ok((0..n_ctx).map(|pixel| pixel >= known).collect())
        }
    }
}

/// Answers at once, or as a stream.
async fn respond(mut drawing: GenerationStream, stream: bool, slot: Arc<Slot>) -> Result<Response, Refusal> {
    if stream {
        return Ok(stream::events(drawing, slot).into_response());
    }
    while drawing.next().await?.is_some() {}
    Ok(Json(drawing.answer()).into_response())
}
