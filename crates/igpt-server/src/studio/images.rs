//! Images of requests: files in base64, or tokens.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use igpt::data::decode;

use super::Limits;
use super::model::Served;
use crate::http::Refusal;

/// A file of one pixel, for the API's document.
pub(super) const EXAMPLE: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/// One image in either form, as tokens.
pub(crate) fn one(
    served: &Served,
    limits: &Limits,
    image: Option<&String>,
    tokens: Option<Vec<u16>>,
) -> Result<Vec<u16>, Refusal> {
    match (image, tokens) {
        (Some(image), None) => decoded(served, limits, image),
        (None, Some(tokens)) => checked(served, tokens),
        _ => Err(Refusal::bad("give one of image (a file in base64) and tokens")),
    }
}

/// Some images in either form, as tokens.
pub(crate) fn several(
    served: &Served,
    limits: &Limits,
    images: Option<&Vec<String>>,
    tokens: Option<Vec<Vec<u16>>>,
) -> Result<Vec<Vec<u16>>, Refusal> {
    let n = images.map_or(0, Vec::len) + tokens.as_ref().map_or(0, Vec::len);
    if n == 0 || n > limits.images {
        return Err(Refusal::bad(format!("{n} images were sent: give 1 to {} of them", limits.images)));
    }
    match (images, tokens) {
        (Some(images), None) => images.iter().map(|image| decoded(served, limits, image)).collect(),
        (None, Some(tokens)) => tokens.into_iter().map(|tokens| checked(served, tokens)).collect(),
        _ => Err(Refusal::bad("give one of images (files in base64) and tokens")),
    }
}

/// A file in base64, possibly as a `data:` URL.
fn decoded(served: &Served, limits: &Limits, image: &str) -> Result<Vec<u16>, Refusal> {
    let text = match image.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,")) {
        Some((_, text)) => text,
        None => image,
    };
    let file = STANDARD.decode(text.trim()).map_err(|e| Refusal::bad(format!("the image is no base64: {e}")))?;
    let pixels = decode::from_bytes(&file, served.quantizer.palette().channels(), limits.pixels)?;
    Ok(served.tokens(&pixels)?)
}

fn checked(served: &Served, tokens: Vec<u16>) -> Result<Vec<u16>, Refusal> {
    let (n_ctx, n_vocab) = (served.config.n_ctx(), served.config.n_vocab);
    if tokens.len() != n_ctx {
        let n = tokens.len();
        return Err(Refusal::bad(format!("an image of {n} tokens, but the model's have {n_ctx}")));
    }
    match tokens.iter().find(|token| **token as usize >= n_vocab) {
        Some(token) => Err(Refusal::bad(format!("token {token}, but the model's palette has {n_vocab} colours"))),
        None => Ok(tokens),
    }
}
