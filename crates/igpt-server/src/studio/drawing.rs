//! `/v1/sample` and `/v1/complete`: images from nothing, and what is missing of an image.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use igpt::generate::{Request, Settings};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::UnboundedReceiver;
use utoipa::ToSchema;

use super::body::Body;
use super::finite::expect_finite;
use super::images::{self, EXAMPLE};
use super::routes::{Shared, Slot};
use super::stream::{self, SentEvent};
use super::whole;
use super::worker::{Drawn, Hole};
use crate::http::{Problem, Refusal};

/// Candidates of a completion where none are asked for.
const CANDIDATES: usize = 16;
/// Rounds in which a masked model fills a hole where none are asked for.
const STEPS: usize = 16;

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

/// How pixels are drawn, with the documented defaults for what is left out or `null`.
fn settings(temperature: Option<f64>, top_k: Option<usize>, top_p: Option<f64>, seed: Option<u64>) -> Settings {
    Settings {
        temperature: temperature.unwrap_or(1.0),
        top_k: top_k.unwrap_or(0),
        top_p: top_p.unwrap_or(1.0),
        seed: seed.unwrap_or(0),
    }
}

/// How missing pixels are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Method {
    /// From nothing, pixel by pixel.
    Sample,
    /// After known rows, pixel by pixel: exact.
    Rows,
    /// Around known pixels, by candidates that are kept in proportion to how likely they make these: exact as
    /// candidates grow.
    Particles,
    /// In rounds, each given all known pixels: approximate.
    Masked,
}

/// What was drawn.
#[derive(Serialize, ToSchema)]
pub(super) struct Pictures {
    method: Method,
    seed: u64,
    /// Candidates of each image, where there were several.
    candidates: Option<usize>,
    /// Rounds, of a masked model.
    steps: Option<usize>,
    images: Vec<Picture>,
}

/// One drawn image.
#[derive(Serialize, ToSchema)]
struct Picture {
    /// In raster order.
    tokens: Vec<u16>,
    /// A PNG file in base64.
    png: String,
    /// The effective number of candidates at the end.
    effective_candidates: Option<f64>,
}

/// A request under way: what is asked for, and what was drawn of it.
pub(super) struct Under {
    pub(super) shared: Shared,
    pub(super) method: Method,
    seed: u64,
    pub(super) candidates: Option<usize>,
    steps: Option<usize>,
    /// Pixels that were known.
    pub(super) known: usize,
    pub(super) images: Vec<Vec<u16>>,
    effective: Vec<Option<f64>>,
    done: Vec<bool>,
    drawn: UnboundedReceiver<Drawn>,
    begun: Instant,
    deadline: Instant,
    first: bool,
}

impl Under {
    /// The next thing drawn, none once all images are whole.
    pub(super) async fn next(&mut self) -> Result<Option<Drawn>, Refusal> {
        if self.done.iter().all(|done| *done) {
            return Ok(None);
        }
        let drawn = tokio::time::timeout_at(self.deadline.into(), self.drawn.recv()).await;
        let drawn = drawn.map_err(|_| self.shared.late())?;
        let drawn = drawn.ok_or_else(Refusal::dead)?;
        self.take(drawn).map(Some)
    }

    /// What else was drawn in the meantime, if anything.
    pub(super) fn at_hand(&mut self) -> Result<Option<Drawn>, Refusal> {
        self.drawn.try_recv().ok().map(|drawn| self.take(drawn)).transpose()
    }

    fn take(&mut self, drawn: Drawn) -> Result<Drawn, Refusal> {
        if std::mem::take(&mut self.first) {
            self.shared.metrics.first_pixel(self.begun.elapsed());
        }
        match &drawn {
            Drawn::Run { image, from, tokens, effective, done } => {
                expect_finite(&self.shared, "an effective number of candidates", Some(*image), *effective)?;
                self.images[*image].truncate(*from);
                self.images[*image].extend_from_slice(tokens);
                (self.effective[*image], self.done[*image]) = (*effective, *done);
            }
            Drawn::Filled { image, pixels, tokens, done } => {
                for (pixel, token) in pixels.iter().zip(tokens) {
                    self.images[*image][*pixel] = *token;
                }
                self.done[*image] = *done;
            }
            Drawn::Failed(error) => return Err(self.shared.not_computed(None, error)),
        }
        Ok(drawn)
    }

    /// The answer, once all images are whole.
    pub(super) fn answer(&self) -> Pictures {
        let picture = |(tokens, effective): (&Vec<u16>, &Option<f64>)| Picture {
            tokens: tokens.clone(),
            png: self.shared.served.png(tokens),
            effective_candidates: *effective,
        };
        let images = self.images.iter().zip(&self.effective).map(picture).collect();
        Pictures { method: self.method, seed: self.seed, candidates: self.candidates, steps: self.steps, images }
    }

    /// Answers at once or bit by bit.
    async fn respond(mut self, stream: bool, slot: Arc<Slot>) -> Result<Response, Refusal> {
        if stream {
            return Ok(stream::events(self, slot).into_response());
        }
        while self.next().await?.is_some() {}
        Ok(Json(self.answer()).into_response())
    }
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
    let wish = Wish { known, image, n, images: true, candidates: None, steps: None, settings };
    let deadline = shared.deadline();
    begin(shared, wish, deadline)?.respond(stream.unwrap_or(false), slot).await
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
    let wish = Wish { known, image, n, images: false, candidates, steps, settings };
    begin(shared, wish, deadline)?.respond(stream.unwrap_or(false), slot).await
}

/// Which pixels are to be drawn.
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

/// What is to be drawn.
struct Wish {
    known: Vec<Option<u16>>,
    image: u64,
    n: usize,
    /// Whether n images are wanted, each with its own number, instead of n attempts at one.
    images: bool,
    candidates: Option<usize>,
    steps: Option<usize>,
    settings: Settings,
}

/// Hands a wish to the worker.
fn begin(shared: Shared, wish: Wish, deadline: Instant) -> Result<Under, Refusal> {
    let Wish { known, image, n, images, candidates, steps, settings } = wish;
    settings.validate()?;
    if n == 0 || n > shared.limits.images {
        let name = if images { "n" } else { "completions" };
        let error = format!("{name}: {n} images were asked for, 1 to {} are possible", shared.limits.images);
        return Err(Refusal::bad(error));
    }
    let last = if images { image.saturating_add(n as u64 - 1) } else { image };
    if last >> 32 != 0 {
        return Err(Refusal::bad(format!("first_image {image}: numbers of images below 2^32 are possible")));
    }
    let number = known.iter().flatten().count();
    let begun = Instant::now();
    let with = |shared, method, candidates, steps, images, drawn| Under {
        shared,
        method,
        seed: settings.seed,
        candidates,
        steps,
        known: number,
        images,
        effective: vec![None; n],
        done: vec![false; n],
        drawn,
        begun,
        deadline,
        first: true,
    };
    if !shared.served.is_autoregressive() {
        let rounds = steps.unwrap_or(STEPS);
        if rounds == 0 {
            return Err(Refusal::bad("steps: 0 of them fill nothing, give at least 1"));
        }
        let start: Vec<u16> = known.iter().map(|token| token.unwrap_or(0)).collect();
        let drawn = shared.worker.fill(Hole { known, image, attempts: n, rounds, settings })?;
        return Ok(with(shared, Method::Masked, None, Some(rounds), vec![start; n], drawn));
    }
    let rows = shared.worker.rows();
    let request = |i: usize| Request {
        known: known.clone(),
        image: if images { image + i as u64 } else { image },
        attempt: if images { 0 } else { i as u64 },
        settings,
        candidates: candidates.unwrap_or(CANDIDATES.min(rows)),
    };
    let requests: Vec<Request> = (0..n).map(request).collect();
    let (steered, wanted) = (requests[0].is_steered(), requests[0].candidates);
    if wanted == 0 || wanted > rows {
        return Err(Refusal::bad(format!("candidates: {wanted} were asked for, 1 to {rows} are possible here")));
    }
    let given: Vec<u16> = known.iter().map_while(|token| *token).collect();
    let method = match (number, steered) {
        (0, _) => Method::Sample,
        (_, true) => Method::Particles,
        (_, false) => Method::Rows,
    };
    let drawn = shared.worker.draw(requests)?;
    Ok(with(shared, method, steered.then_some(wanted), None, vec![given; n], drawn))
}
