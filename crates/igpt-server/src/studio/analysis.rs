//! Handlers of a model's analysis of images: tokens, scores, probabilities of the next pixel, classes.

use axum::Json;
use axum::extract::State;
use igpt::data::{Batch, TokenSet};
use igpt::device::Engine;
use igpt::evaluate::{Reference, classify as classes_of, png_nats, surprise, surprise_maps};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::Body;
use super::finite::expect_finite;
use super::images::{self, EXAMPLE, Several, Unread};
use super::state::Shared;
use super::whole;
use crate::refusal::{Problem, Refusal};

/// One image.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImageRequest {
    /// A file in base64: PNG, JPEG, WebP, GIF, BMP or TIFF of any size.
    #[schema(example = json!(EXAMPLE))]
    image: Option<String>,
    /// Or its tokens in raster order.
    #[serde(default, deserialize_with = "whole::perhaps_list")]
    tokens: Option<Vec<u16>>,
}

/// Some images.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImagesRequest {
    /// Files in base64: PNG, JPEG, WebP, GIF, BMP or TIFF of any size.
    #[schema(example = json!([EXAMPLE]))]
    images: Option<Vec<String>>,
    /// Or tokens, each image's in raster order.
    #[serde(default, deserialize_with = "whole::perhaps_lists")]
    tokens: Option<Vec<Vec<u16>>>,
}

/// An image in the model's palette.
#[derive(Serialize, ToSchema)]
pub(crate) struct Quantized {
    /// In raster order.
    tokens: Vec<u16>,
    /// A PNG file in base64.
    png: String,
}

/// An image as the model sees it: shrunk, in the colours of the palette.
#[utoipa::path(
    post,
    path = "/v1/quantize",
    request_body(content((ImageRequest = "application/json"), (ImageRequest = "multipart/form-data"))),
    responses(
        (status = 200, body = Quantized, description = "The image in the palette"),
        (status = "4XX", body = Problem, description = "Why this can't be done"),
        (status = "5XX", body = Problem, description = "Too busy, or something failed"),
    )
)]
pub(super) async fn quantize(
    State(shared): State<Shared>,
    Body(request): Body<ImageRequest>,
) -> Result<Json<Quantized>, Refusal> {
    let tokens = images::one(&shared, shared.deadline(), request.image, request.tokens).await?;
    Ok(Json(Quantized { png: shared.served.png(&tokens), tokens }))
}

/// Scores of some images.
#[derive(Serialize, ToSchema)]
pub(crate) struct Scores {
    /// Of the images that could be read, in the request's order.
    scores: Vec<Score>,
    /// Images that could not be read, and are left out.
    errors: Vec<Unread>,
}

/// How likely an image is.
#[derive(Serialize, ToSchema)]
struct Score {
    /// Its place in the request, from 0.
    index: usize,
    /// Its negative log-likelihood.
    nats: f64,
    /// The same for each pixel.
    nats_per_pixel: f64,
    /// The same in bits for each channel.
    bits_per_dim: f64,
    /// The size of a PNG file of it, as nats: how complex it is.
    png_nats: f64,
    /// Nats of the reference: of a context model of good images where the model has a fit (igpt inspect fit), otherwise
    /// `png_nats`.
    reference_nats: f64,
    /// What the reference is: `context` or `png`.
    reference: &'static str,
    /// How many nats more than the reference the model needs: the higher, the odder.
    excess: f64,
    /// Nats of each pixel in raster order.
    surprise: Vec<f32>,
}

/// How likely images are, and which of their pixels surprise.
#[utoipa::path(
    post,
    path = "/v1/score",
    request_body(content((ImagesRequest = "application/json"), (ImagesRequest = "multipart/form-data"))),
    responses(
        (status = 200, body = Scores, description = "Their scores"),
        (status = "4XX", body = Problem, description = "Why this can't be done"),
        (status = "5XX", body = Problem, description = "Too busy, or something failed"),
    )
)]
pub(super) async fn score(
    State(shared): State<Shared>,
    Body(request): Body<ImagesRequest>,
) -> Result<Json<Scores>, Refusal> {
    if !shared.served.is_autoregressive() {
        return Err(Refusal::bad(
            "a model of masked pixels has no likelihood of a whole image, only probabilities of pixels given all others: \
             ask /v1/predict for these",
        ));
    }
    let deadline = shared.deadline();
    let Several { read, unread: errors } = images::several(&shared, deadline, request.images, request.tokens).await?;
    let mut scores = Vec::with_capacity(read.len());
    for (index, tokens) in read {
        let own = shared.clone();
        let score = shared.pass(deadline, Some(index), move |engine| score_one(&own, engine, index, tokens)).await?;
        let pixels = score.surprise.iter().map(|nats| f64::from(*nats));
        let values = [score.nats, score.reference_nats, score.excess].into_iter().chain(pixels);
        expect_finite(&shared, "a negative log-likelihood", Some(index), values)?;
        scores.push(score);
    }
    Ok(Json(Scores { scores, errors }))
}

fn score_one(shared: &Shared, engine: &mut dyn Engine, index: usize, tokens: Vec<u16>) -> igpt::Result<Score> {
    let quantizer = &shared.served.quantizer;
    let n_px = shared.served.config.n_px;
    let set = TokenSet { tokens, n_px, labels: vec![None], names: vec![String::new()], damaged: Vec::new() };
    let fit = shared.served.inspecting.inspector.as_ref().map(|inspector| &inspector.fit);
    let (reference, name) = match fit {
        Some(fit) => (Reference::Context(&fit.reference), "context"),
        None => (Reference::Png(quantizer), "png"),
    };
    let found = surprise(engine, &set, reference, &mut |_| ())?[0];
    let nats_per_pixel = found.nats / n_px.pixels() as f64;
    Ok(Score {
        index,
        nats: found.nats,
        nats_per_pixel,
        bits_per_dim: nats_per_pixel / (quantizer.palette().channels() as f64 * std::f64::consts::LN_2),
        png_nats: png_nats(quantizer, set.image(0), n_px),
        reference_nats: found.reference,
        reference: name,
        excess: found.excess(),
        surprise: surprise_maps(engine, &set, 0..1)?,
    })
}

/// One row of an image.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PredictRequest {
    /// A file in base64: PNG, JPEG, WebP, GIF, BMP or TIFF of any size.
    #[schema(example = json!(EXAMPLE))]
    image: Option<String>,
    /// Or its tokens in raster order.
    #[serde(default, deserialize_with = "whole::perhaps_list")]
    tokens: Option<Vec<u16>>,
    /// The row, from 0.
    #[serde(deserialize_with = "whole::one")]
    row: usize,
}

/// Probabilities of every colour at the pixels of a row.
#[derive(Serialize, ToSchema)]
pub(crate) struct Prediction {
    row: usize,
    /// (width, n_vocab), four digits of each.
    probabilities: Vec<Vec<f64>>,
}

/// How probable each colour is at each pixel of a row: given all pixels before it or, of a model of masked pixels, given
/// all others.
#[utoipa::path(
    post,
    path = "/v1/predict",
    request_body(content((PredictRequest = "application/json"), (PredictRequest = "multipart/form-data"))),
    responses(
        (status = 200, body = Prediction, description = "The probabilities"),
        (status = "4XX", body = Problem, description = "Why this can't be done"),
        (status = "5XX", body = Problem, description = "Too busy, or something failed"),
    )
)]
pub(super) async fn predict(
    State(shared): State<Shared>,
    Body(request): Body<PredictRequest>,
) -> Result<Json<Prediction>, Refusal> {
    let (row, height) = (request.row, shared.served.config.n_px.height);
    if row >= height {
        return Err(Refusal::bad(format!("row: {row} of an image of {height} rows, 0 to {} are possible", height - 1)));
    }
    let deadline = shared.deadline();
    let tokens = images::one(&shared, deadline, request.image, request.tokens).await?;
    let own = shared.clone();
    let probabilities = shared.pass(deadline, None, move |engine| row_of(&own, engine, tokens, row)).await?;
    expect_finite(&shared, "a probability", None, probabilities.iter().flatten().copied())?;
    Ok(Json(Prediction { row, probabilities }))
}

fn row_of(shared: &Shared, engine: &mut dyn Engine, tokens: Vec<u16>, row: usize) -> igpt::Result<Vec<Vec<f64>>> {
    let (width, n_ctx, n_vocab) = (shared.served.config.n_px.width, engine.config().n_ctx(), engine.config().n_vocab);
    let pixels = row * width..(row + 1) * width;
    let mut probabilities = Vec::with_capacity(width);
    let mut logits = vec![0.0; n_ctx * n_vocab];
    if shared.served.is_autoregressive() {
        engine.logits(&Batch::new(tokens, n_ctx), &mut logits)?;
        probabilities.extend(pixels.map(|pixel| softmax(&logits[pixel * n_vocab..][..n_vocab])));
    } else {
        for pixel in pixels {
            let masked = (0..n_ctx).map(|t| t == pixel).collect();
            engine.logits(&Batch::new(tokens.clone(), n_ctx).with_masks(masked), &mut logits)?;
            probabilities.push(softmax(&logits[pixel * n_vocab..][..n_vocab]));
        }
    }
    Ok(probabilities)
}

/// Probabilities to four digits, as many as a page can show.
fn softmax(logits: &[f32]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = logits.iter().map(|&v| f64::from(v - max).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| four_digits(weight / sum)).collect()
}

/// Rounds a share to four significant digits.
fn four_digits(share: f64) -> f64 {
    format!("{share:.3e}").parse().expect("a number's own form")
}

/// Classes of images.
#[derive(Serialize, ToSchema)]
pub(crate) struct Classes {
    /// Names of all classes, in the order of the probabilities.
    classes: Vec<String>,
    /// Of the images that could be read, in the request's order.
    images: Vec<Class>,
    /// Images that could not be read, and are left out.
    errors: Vec<Unread>,
}

/// The class of an image.
#[derive(Serialize, ToSchema)]
struct Class {
    /// Its place in the request, from 0.
    index: usize,
    /// The likeliest.
    class: String,
    probability: f64,
    /// Of every class.
    probabilities: Vec<f64>,
}

/// The classes of images, by a fine-tuned model.
#[utoipa::path(
    post,
    path = "/v1/classify",
    request_body(content((ImagesRequest = "application/json"), (ImagesRequest = "multipart/form-data"))),
    responses(
        (status = 200, body = Classes, description = "Their classes"),
        (status = "4XX", body = Problem, description = "Why this can't be done"),
        (status = "5XX", body = Problem, description = "Too busy, or something failed"),
    )
)]
pub(super) async fn classify(
    State(shared): State<Shared>,
    Body(request): Body<ImagesRequest>,
) -> Result<Json<Classes>, Refusal> {
    let classes = shared.served.classes.clone();
    if classes.is_empty() {
        return Err(Refusal::bad("the model has no classifier: serve one that igpt finetune made"));
    }
    if !shared.served.is_trained {
        let name = &shared.served.name;
        return Err(Refusal::bad(format!(
            "the model {name} has a classifier that was never trained (score.weight is all zeros): go on with its \
             fine-tuning by igpt finetune --resume"
        )));
    }
    let deadline = shared.deadline();
    let Several { read, unread: errors } = images::several(&shared, deadline, request.images, request.tokens).await?;
    let mut images = Vec::with_capacity(read.len());
    for (index, tokens) in read {
        let batch = Batch::new(tokens, shared.served.config.n_ctx());
        let found = shared.pass(deadline, Some(index), move |engine| classes_of(engine, &batch, 0)).await?.remove(0);
        expect_finite(&shared, "a probability", Some(index), found.probabilities.iter().copied())?;
        let class = found.class as usize;
        let (probability, probabilities) = (found.probabilities[class], found.probabilities);
        images.push(Class { index, class: classes[class].clone(), probability, probabilities });
    }
    Ok(Json(Classes { classes, images, errors }))
}
