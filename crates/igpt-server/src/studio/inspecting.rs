//! Handler of `/v1/inspect`: finds odd images and their odd regions, by the model's fit of `igpt inspect fit`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use igpt::formats::png::{self, TextChunks};
use igpt::image::Pixels;
use igpt::inspect::{FALSE_ALARMS, InspectionResult, ScoreMaps, TileOutputs, TiledPicture, tile_outputs};
use igpt::{Error, Result as Done};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::Body;
use super::decoding::Failed;
use super::finite::expect_finite;
use super::images::{self, EXAMPLE, OfPixels, Several, Unread};
use super::model::Served;
use super::state::Shared;
use super::whole;
use crate::refusal::{Problem, Refusal};

/// Largest number of tiles of an image, for models that inspect images in tiles.
const TILES: usize = 4096;

/// Some images, and how many good ones may be called odd.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InspectRequest {
    /// Files in base64: PNG, JPEG, WebP, GIF, BMP or TIFF of any size.
    #[schema(example = json!([EXAMPLE]))]
    images: Option<Vec<String>>,
    /// Or tokens, each image's in raster order.
    #[serde(default, deserialize_with = "whole::perhaps_lists")]
    tokens: Option<Vec<Vec<u16>>>,
    /// The share of good images that may be called odd.
    #[schema(default = 0.05)]
    false_alarms: Option<f64>,
}

/// What is said of images.
#[derive(Serialize, ToSchema)]
pub(crate) struct Inspected {
    /// Of the images that could be read, in the request's order.
    images: Vec<InspectedImage>,
    /// How many of them are odd.
    odd: usize,
    /// An image is odd if its score is above this.
    threshold: f64,
    /// The share of good images that may be.
    false_alarms: f64,
    /// The rule by which images are scored.
    score: &'static str,
    /// Held-out good images that the threshold is made of.
    held_out: usize,
    /// Images that could not be read, and are left out.
    errors: Vec<Unread>,
}

/// What is said of an image.
#[derive(Serialize, ToSchema)]
struct InspectedImage {
    /// Its place in the request, from 0.
    index: usize,
    /// How odd it is: the same by command, alone and among others.
    score: f64,
    /// The share of held-out good images with a lower score, in percent.
    percentile: f64,
    /// The share of good images that are at least as odd, as far as the held-out ones tell (conformal p-value).
    p_value: f64,
    /// Whether the score is above the threshold.
    odd: bool,
    /// Rows of the image as it was sent.
    height: usize,
    /// Columns.
    width: usize,
    /// Where it is odd: a heat map of the image's own size, a PNG file in base64.
    map: String,
}

/// Which images are odd, at a stated rate of false alarms, and where.
#[utoipa::path(
    post,
    path = "/v1/inspect",
    request_body(content((InspectRequest = "application/json"), (InspectRequest = "multipart/form-data"))),
    responses(
        (status = 200, body = Inspected, description = "What is said of them"),
        (status = "4XX", body = Problem, description = "Why this can't be done"),
        (status = "5XX", body = Problem, description = "Too busy, or something failed"),
    )
)]
pub(super) async fn inspect(
    State(shared): State<Shared>,
    Body(request): Body<InspectRequest>,
) -> Result<Json<Inspected>, Refusal> {
    if !shared.served.is_autoregressive() {
        return Err(Refusal::bad("a model of masked pixels has no likelihood by which images could be told to be odd"));
    }
    let inspector = shared.served.inspecting.inspector();
    let inspector = inspector.map_err(|why| Refusal::new(StatusCode::NOT_FOUND, why))?;
    let fit = &inspector.fit;
    let false_alarms = request.false_alarms.unwrap_or(FALSE_ALARMS);
    let threshold = fit.threshold(false_alarms);
    let threshold = threshold.map_err(|error| Refusal::bad(format!("false_alarms: {error}")))?;
    let needs = inspector.needs();
    let deadline = shared.deadline();
    let made = (picture as OfPixels<TiledPicture>, |tokens| inspector.picture_of_tokens(tokens));
    let several = images::several_as(&shared, deadline, request.images, request.tokens, made).await?;
    let Several { read, unread: errors } = several;
    let mut images = Vec::with_capacity(read.len());
    for (index, picture) in read {
        let picture = Arc::new(picture);
        let mut answers = TileOutputs::default();
        for tokens in picture.batches() {
            // Other requests have their turn between the tiles of a large image.
            let (tokens, needs) = (tokens.to_vec(), needs.clone());
            answers
                .extend(shared.pass(deadline, Some(index), move |engine| tile_outputs(engine, &tokens, &needs)).await?);
        }
        expect_finite(&shared, "a negative log-likelihood", Some(index), answers.values())?;
        let (own, seen) = (shared.clone(), picture.clone());
        let done = shared.decoding.run(deadline, move || judged(&own, &seen, answers)).await;
        let (verdict, map) = match done {
            Ok(Ok(done)) => done,
            Ok(Err(problem)) => return Err(shared.not_computed(Some(index), &problem.to_string())),
            Err(Failed::Panicked) => return Err(shared.not_computed(Some(index), "its map can't be drawn")),
            Err(Failed::Late) => return Err(shared.late()),
        };
        let InspectionResult { score, percentile, p_value, .. } = verdict;
        let (height, width) = (picture.own.height, picture.own.width);
        images.push(InspectedImage { index, score, percentile, p_value, odd: score > threshold, height, width, map });
    }
    let odd = images.iter().filter(|image| image.odd).count();
    let (score, held_out) = (fit.score.name(), fit.held_out.scores().len());
    Ok(Json(Inspected { images, odd, threshold, false_alarms, score, held_out, errors }))
}

/// Prepares an image of any size for the engine.
fn picture(served: &Served, pixels: &Pixels) -> Done<TiledPicture> {
    let inspector = served.inspecting.inspector().map_err(|why| Error::Missing(why.into()))?;
    let tiles = inspector.tiles(pixels.size);
    if tiles > TILES {
        return Err(Error::Invalid(format!(
            "an image of {} has {tiles} tiles, more than the {TILES} that are judged here: cut it, or judge it by igpt inspect \
             run",
            pixels.size
        )));
    }
    inspector.picture(pixels)
}

/// Judges an image, and draws its map.
fn judged(shared: &Shared, picture: &TiledPicture, answers: TileOutputs) -> Done<(InspectionResult, String)> {
    let inspector = shared.served.inspecting.inspector().map_err(|why| Error::Missing(why.into()))?;
    let verdict = inspector.result(&ScoreMaps::new(picture, answers, inspector.fit.good(), "the image")?);
    let map = png::encode(&inspector.heat(picture, &verdict), &TextChunks::new("Where it is odd"));
    Ok((verdict, STANDARD.encode(map)))
}
