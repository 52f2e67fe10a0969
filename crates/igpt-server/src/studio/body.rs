//! Request bodies: JSON, or the same fields as a multipart form with files instead of base64.

use std::time::Duration;

use axum::Json;
use axum::extract::multipart::MultipartError;
use axum::extract::rejection::{BytesRejection, JsonRejection};
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeOwned, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::state::Shared;
use crate::refusal::Refusal;

/// Size in bytes from which a body is parsed on another thread.
const LONG: usize = 64 << 10;

/// Body of a request in either form.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned + Send + 'static> FromRequest<Shared> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, shared: &Shared) -> Result<Self, Refusal> {
        let patience = Duration::from_secs(shared.limits.seconds);
        let late = |_| Refusal::new(StatusCode::REQUEST_TIMEOUT, "the request did not come whole in time");
        let raw = tokio::time::timeout(patience, Raw::read(request, shared)).await.map_err(late)??;
        if raw.len() < LONG {
            return raw.fields().map(Self);
        }
        // Parsing megabytes of numbers would block the threads of the network.
        let read = tokio::task::spawn_blocking(move || raw.fields()).await;
        read.map_err(|_| Refusal::bad("the request can't be read"))?.map(Self)
    }
}

/// Body that was received completely.
enum Raw {
    Json(Box<RawValue>),
    Form(Map<String, Value>, usize),
}

impl Raw {
    async fn read(request: Request, shared: &Shared) -> Result<Self, Refusal> {
        let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
        if !kind.starts_with("multipart/form-data") {
            let Json(body) = Json::<Box<RawValue>>::from_request(request, shared).await.map_err(refused_json)?;
            // A list would be read as the fields in their order.
            return match body.get().starts_with('{') {
                true => Ok(Self::Json(body)),
                false => Err(Refusal::bad("the request is no JSON object")),
            };
        }
        let mut form = Multipart::from_request(request, shared)
            .await
            .map_err(|e| Refusal::bad(format!("the form can't be read: {e}")))?;
        let (mut all, mut len) = (Map::new(), 0);
        while let Some(field) = form.next_field().await.map_err(refused_form)? {
            let name = field.name().unwrap_or_default().to_string();
            let is_file = field.file_name().is_some();
            let bytes = field.bytes().await.map_err(refused_form)?;
            len += bytes.len();
            let value = if is_file { Value::String(STANDARD.encode(&bytes)) } else { text_value(&bytes)? };
            add(&mut all, name, value)?;
        }
        Ok(Self::Form(all, len))
    }

    /// Size in bytes.
    fn len(&self) -> usize {
        match self {
            Self::Json(text) => text.get().len(),
            Self::Form(_, len) => *len,
        }
    }

    fn fields<T: DeserializeOwned>(self) -> Result<T, Refusal> {
        match self {
            Self::Json(text) => fields(&mut serde_json::Deserializer::from_str(text.get())),
            Self::Form(all, _) => fields(Value::Object(all)),
        }
    }
}

/// Parses the request itself; errors name what is wrong in it.
fn fields<'a, T: DeserializeOwned>(body: impl Deserializer<'a, Error = serde_json::Error>) -> Result<T, Refusal> {
    serde_path_to_error::deserialize(body).map_err(|e| Refusal::bad(format!("the request: {e}")))
}

/// Value of a text field: JSON if it parses (numbers, lists), otherwise the text itself.
fn text_value(bytes: &[u8]) -> Result<Value, Refusal> {
    let text = std::str::from_utf8(bytes).map_err(|_| Refusal::bad("a field of the form is no UTF-8 text"))?;
    Ok(serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.into())))
}

/// Adds a field; the field `images` collects all values of its name.
fn add(fields: &mut Map<String, Value>, name: String, value: Value) -> Result<(), Refusal> {
    if name != "images" {
        if fields.contains_key(&name) {
            return Err(Refusal::bad(format!("the form has two fields named {name}")));
        }
        fields.insert(name, value);
    } else if let Value::Array(all) = fields.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
        all.push(value);
    }
    Ok(())
}

fn refused_json(rejection: JsonRejection) -> Refusal {
    match rejection {
        JsonRejection::BytesRejection(rejection) => refused_bytes(&rejection),
        JsonRejection::MissingJsonContentType(_) => Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send Content-Type: application/json, or multipart/form-data",
        ),
        other => Refusal::bad(other.body_text()),
    }
}

fn refused_bytes(rejection: &BytesRejection) -> Refusal {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => Refusal::bad(rejection.body_text()),
    }
}

fn refused_form(error: MultipartError) -> Refusal {
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => Refusal::bad(format!("the form is cut off or damaged: {}", error.body_text())),
    }
}

pub(super) fn too_large() -> Refusal {
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the request is larger than is allowed here: shrink the images")
}
