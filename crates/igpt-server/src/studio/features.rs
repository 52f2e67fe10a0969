//! Handlers of features: embeddings of images, and the neighbours that are nearest by them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use igpt::data::Batch;
use igpt::device::{Engine, Pooling};
use igpt::evaluate::Layers;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::Body;
use super::finite::expect_finite;
use super::images::{self, EXAMPLE, Several, Unread};
use super::model::{Neighbor, Neighbors};
use super::state::Shared;
use super::whole;
use crate::refusal::{Problem, Refusal};

/// Some images, and which features are wanted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmbedRequest {
    /// Files in base64: PNG, JPEG, WebP, GIF, BMP or TIFF of any size.
    #[schema(example = json!([EXAMPLE]))]
    images: Option<Vec<String>>,
    /// Or tokens, each image's in raster order.
    #[serde(default, deserialize_with = "whole::perhaps_lists")]
    tokens: Option<Vec<Vec<u16>>>,
    /// Layers, 0 to n_layer, or `all`; the one in the middle if none is given.
    layers: Option<LayerChoice>,
    /// How the values of an image's positions become one: `mean`, `max` or `last`.
    #[schema(default = "mean")]
    pool: Option<Pool>,
}

/// Layers by number, or `all`.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
enum LayerChoice {
    Some(#[serde(deserialize_with = "whole::list")] Vec<usize>),
    All(AllLayers),
}

/// All layers.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum AllLayers {
    All,
}

/// How the values of an image's positions become one.
#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Pool {
    #[default]
    Mean,
    Max,
    Last,
}

/// Features of images.
#[derive(Serialize, ToSchema)]
pub(crate) struct Embeddings {
    /// Which layers these are.
    layers: Vec<usize>,
    n_embd: usize,
    /// Places in the request, from 0, of the images that these are of: all that could be read, in their order.
    index: Vec<usize>,
    /// (images, layers, n_embd).
    features: Vec<Vec<Vec<f32>>>,
    /// Images that could not be read, and are left out.
    errors: Vec<Unread>,
}

/// Features that the network has of images.
#[utoipa::path(
    post,
    path = "/v1/embed",
    request_body(content((EmbedRequest = "application/json"), (EmbedRequest = "multipart/form-data"))),
    responses(
        (status = 200, body = Embeddings, description = "The features"),
        (status = "4XX", body = Problem, description = "Why this can't be done"),
        (status = "5XX", body = Problem, description = "Too busy, or something failed"),
    )
)]
pub(super) async fn embed(
    State(shared): State<Shared>,
    Body(request): Body<EmbedRequest>,
) -> Result<Json<Embeddings>, Refusal> {
    let config = &shared.served.config;
    let (n_layer, n_embd) = (config.n_layer, config.n_embd);
    let layers = match request.layers {
        None => vec![n_layer / 2],
        Some(LayerChoice::All(AllLayers::All)) => Layers::All.of(n_layer)?,
        Some(LayerChoice::Some(layers)) => Layers::Only(layers).of(n_layer)?,
    };
    if layers.is_empty() || layers.len() > n_layer + 1 {
        let n = layers.len();
        return Err(Refusal::bad(format!("layers: {n} of them were asked for, but the model has {}", n_layer + 1)));
    }
    let pooling = match request.pool.unwrap_or_default() {
        Pool::Mean => Pooling::Mean,
        Pool::Max => Pooling::Max,
        Pool::Last => Pooling::Last,
    };
    let deadline = shared.deadline();
    let Several { read, unread: errors } = images::several(&shared, deadline, request.images, request.tokens).await?;
    let (mut index, mut features) = (Vec::with_capacity(read.len()), Vec::with_capacity(read.len()));
    for (place, tokens) in read {
        let wanted = layers.clone();
        let pass = move |engine: &mut dyn Engine| -> igpt::Result<Vec<f32>> {
            let mut out = vec![0.0; wanted.len() * n_embd];
            engine.features(&Batch::new(tokens, engine.config().n_ctx()), &wanted, pooling, &mut out)?;
            Ok(out)
        };
        let found = shared.pass(deadline, Some(place), pass).await?;
        expect_finite(&shared, "a feature", Some(place), found.iter().map(|value| f64::from(*value)))?;
        index.push(place);
        features.push(found.chunks_exact(n_embd).map(<[f32]>::to_vec).collect());
    }
    Ok(Json(Embeddings { layers, n_embd, index, features, errors }))
}

/// One image, and how many neighbours are wanted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NeighborsRequest {
    /// A file in base64: PNG, JPEG, WebP, GIF, BMP or TIFF of any size.
    #[schema(example = json!(EXAMPLE))]
    image: Option<String>,
    /// Or its tokens in raster order.
    #[serde(default, deserialize_with = "whole::perhaps_list")]
    tokens: Option<Vec<u16>>,
    /// How many.
    #[serde(default, deserialize_with = "whole::perhaps")]
    #[schema(default = 8, minimum = 1)]
    k: Option<usize>,
}

/// The nearest images.
#[derive(Serialize, ToSchema)]
pub(crate) struct Nearest {
    /// The nearest first.
    neighbors: Vec<Neighbor>,
}

/// The nearest of the images that the server was given, by the features of its middle layer.
#[utoipa::path(
    post,
    path = "/v1/neighbors",
    request_body(content((NeighborsRequest = "application/json"), (NeighborsRequest = "multipart/form-data"))),
    responses(
        (status = 200, body = Nearest, description = "The nearest"),
        (status = "4XX", body = Problem, description = "Why this can't be done"),
        (status = "5XX", body = Problem, description = "Too busy, or something failed"),
    )
)]
pub(super) async fn neighbors(
    State(shared): State<Shared>,
    Body(request): Body<NeighborsRequest>,
) -> Result<Json<Nearest>, Refusal> {
    let Some(neighbors) = &shared.served.neighbors else {
        let error = "this server was given no images to look among: start it with --neighbors";
        return Err(Refusal::new(StatusCode::NOT_FOUND, error));
    };
    let k = request.k.unwrap_or(8);
    if k == 0 || k > shared.limits.images {
        return Err(Refusal::bad(format!(
            "k: {k} neighbours were asked for, 1 to {} are possible",
            shared.limits.images
        )));
    }
    let deadline = shared.deadline();
    let tokens = images::one(&shared, deadline, request.image, request.tokens).await?;
    let layer = neighbors.layer();
    let features = shared.pass(deadline, None, move |engine| Neighbors::features(layer, engine, tokens)).await?;
    expect_finite(&shared, "a feature", None, features.iter().map(|value| f64::from(*value)))?;
    Ok(Json(Nearest { neighbors: shared.served.nearest(neighbors, &features, k) }))
}
