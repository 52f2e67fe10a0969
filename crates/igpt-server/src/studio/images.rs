//! Images of requests: files in base64, or tokens.

use std::time::Instant;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use igpt::formats::decode;
use igpt::image::Pixels;
use serde::Serialize;
use utoipa::ToSchema;

use super::decoding::Failed;
use super::model::Served;
use super::state::Shared;
use crate::refusal::Refusal;

/// PNG file of one pixel, as an example in the API's document.
pub(super) const EXAMPLE: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/// Base64 with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// An image of a request that can't be read, and so is left out of the answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Unread {
    /// Its place in the request, from 0.
    index: usize,
    /// What is wrong with it.
    message: String,
}

/// Images of a request.
#[derive(Debug)]
pub(crate) struct Several<T = Vec<u16>> {
    /// Images that could be read, with their indices in the request.
    pub(crate) read: Vec<(usize, T)>,
    pub(crate) unread: Vec<Unread>,
}

/// Conversion of an image of any size.
pub(crate) type OfPixels<T> = fn(&Served, &Pixels) -> igpt::Result<T>;

/// Reads one image in either form, as tokens.
pub(crate) async fn one(
    shared: &Shared,
    deadline: Instant,
    image: Option<String>,
    tokens: Option<Vec<u16>>,
) -> Result<Vec<u16>, Refusal> {
    match (image, tokens) {
        (Some(image), None) => {
            let _places = shared.decoding.enter(1)?;
            decoded(shared, deadline, image, Served::tokens).await?.map_err(Refusal::bad)
        }
        (None, Some(tokens)) => checked(&shared.served, tokens).map_err(Refusal::bad),
        _ => Err(Refusal::bad("give one of image (a file in base64) and tokens")),
    }
}

/// Reads several images in either form, as tokens. Unreadable files are left out, unless all are unreadable.
pub(crate) async fn several(
    shared: &Shared,
    deadline: Instant,
    images: Option<Vec<String>>,
    tokens: Option<Vec<Vec<u16>>>,
) -> Result<Several, Refusal> {
    several_as(shared, deadline, images, tokens, (Served::tokens, |tokens| tokens)).await
}

/// Like [`several`], but converts images of any size by `of_pixels` and tokens by `of_tokens`.
pub(crate) async fn several_as<T: Send + 'static>(
    shared: &Shared,
    deadline: Instant,
    images: Option<Vec<String>>,
    tokens: Option<Vec<Vec<u16>>>,
    (of_pixels, of_tokens): (OfPixels<T>, impl Fn(Vec<u16>) -> T),
) -> Result<Several<T>, Refusal> {
    let (n, most) = (images.as_ref().map_or(0, Vec::len) + tokens.as_ref().map_or(0, Vec::len), shared.limits.images);
    if n == 0 || n > most {
        return Err(Refusal::bad(format!("{n} images were sent: give 1 to {most} of them")));
    }
    let (mut read, mut unread) = (Vec::with_capacity(n), Vec::new());
    match (images, tokens) {
        (Some(images), None) => {
            let _places = shared.decoding.enter(n)?;
            for (index, image) in images.into_iter().enumerate() {
                match decoded(shared, deadline, image, of_pixels).await? {
                    Ok(image) => read.push((index, image)),
                    Err(message) => unread.push(Unread { index, message }),
                }
            }
        }
        (None, Some(tokens)) => {
            for (index, tokens) in tokens.into_iter().enumerate() {
                let checked = checked(&shared.served, tokens);
                let tokens = checked.map_err(|e| Refusal::bad(format!("tokens[{index}]: {e}")))?;
                read.push((index, of_tokens(tokens)));
            }
        }
        _ => return Err(Refusal::bad("give one of images (files in base64) and tokens")),
    }
    match unread.first() {
        Some(first) if n == 1 => Err(Refusal::bad(first.message.clone())),
        Some(first) if read.is_empty() => {
            Err(Refusal::bad(format!("none of the {n} images can be read; images[0]: {}", first.message)))
        }
        _ => Ok(Several { read, unread }),
    }
}

/// Decodes a file on a separate thread and converts it by `make`; returns the result, or the problem with the file.
async fn decoded<T: Send + 'static>(
    shared: &Shared,
    deadline: Instant,
    image: String,
    make: OfPixels<T>,
) -> Result<Result<T, String>, Refusal> {
    let own = shared.clone();
    let work = move || {
        let file = file(&image)?;
        let channels = own.served.quantizer.palette().channels();
        let pixels = decode::from_bytes(&file, channels, own.limits.pixels).map_err(|error| error.to_string())?;
        make(&own.served, &pixels).map_err(|error| error.to_string())
    };
    match shared.decoding.run(deadline, work).await {
        Ok(done) => Ok(done),
        Err(Failed::Panicked) => Ok(Err("the image can't be read: it is damaged".into())),
        Err(Failed::Late) => Err(shared.late()),
    }
}

/// Decodes base64, possibly a `data:` URL; in either alphabet, with or without padding and line breaks.
fn file(image: &str) -> Result<Vec<u8>, String> {
    let text = match image.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,")) {
        Some((_, text)) => text,
        None => image,
    };
    let standard = |byte: u8| match byte {
        b'-' => b'+',
        b'_' => b'/',
        byte => byte,
    };
    let text: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).map(standard).collect();
    BASE64.decode(text).map_err(|e| format!("the image is no base64: {e}"))
}

fn checked(served: &Served, tokens: Vec<u16>) -> Result<Vec<u16>, String> {
    let (n_ctx, n_vocab) = (served.config.n_ctx(), served.config.n_vocab);
    if tokens.len() != n_ctx {
        return Err(format!("an image of {} tokens, but the model's have {n_ctx}", tokens.len()));
    }
    match tokens.iter().find(|token| **token as usize >= n_vocab) {
        Some(token) => Err(format!("token {token}, but the model's palette has {n_vocab} colours")),
        None => Ok(tokens),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_in_every_form_that_encoders_give_it() {
        let bytes: Vec<u8> = (0..=255).chain([251, 255, 254, 7]).collect();
        let plain = base64::engine::general_purpose::STANDARD.encode(&bytes);
        let lines = plain.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap());
        let forms = [
            plain.clone(),
            plain.trim_end_matches('=').into(),
            lines.clone().collect::<Vec<_>>().join("\r\n") + "\n",
            base64::engine::general_purpose::URL_SAFE.encode(&bytes),
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&bytes),
            format!("data:image/png;base64,{plain}"),
        ];
        for form in forms {
            assert_eq!(file(&form), Ok(bytes.clone()), "{form}");
        }
        for wrong in ["!!!", "data:image/png,abcd", "=AAA", "AA=A", "A"] {
            assert!(file(wrong).unwrap_err().contains("base64"), "{wrong}");
        }
    }
}
