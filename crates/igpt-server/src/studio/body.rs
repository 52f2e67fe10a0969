//! Bodies of requests: JSON, or the same fields as a multipart form with files in place of base64.

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

use crate::http::Refusal;

/// A body in either form.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
        if !kind.starts_with("multipart/form-data") {
            let Json(body) = Json::<Box<RawValue>>::from_request(request, state).await.map_err(refused_json)?;
            // A list would be taken for the fields in their order.
            if !body.get().starts_with('{') {
                return Err(Refusal::bad("the request is no JSON object"));
            }
            return fields(&mut serde_json::Deserializer::from_str(body.get())).map(Self);
        }
        let mut form = Multipart::from_request(request, state)
            .await
            .map_err(|e| Refusal::bad(format!("the form can't be read: {e}")))?;
        let mut all = Map::new();
        while let Some(field) = form.next_field().await.map_err(refused_form)? {
            let name = field.name().unwrap_or_default().to_string();
            let is_file = field.file_name().is_some();
            let bytes = field.bytes().await.map_err(refused_form)?;
            let value = if is_file { Value::String(STANDARD.encode(&bytes)) } else { text_value(&bytes)? };
            add(&mut all, name, value);
        }
        fields(Value::Object(all)).map(Self)
    }
}

/// The request itself; what is wrong in it is named.
fn fields<'a, T: DeserializeOwned>(body: impl Deserializer<'a, Error = serde_json::Error>) -> Result<T, Refusal> {
    serde_path_to_error::deserialize(body).map_err(|e| Refusal::bad(format!("the request: {e}")))
}

/// A field's text: JSON where it is some (numbers, lists), otherwise itself.
fn text_value(bytes: &[u8]) -> Result<Value, Refusal> {
    let text = std::str::from_utf8(bytes).map_err(|_| Refusal::bad("a field of the form is no UTF-8 text"))?;
    Ok(serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.into())))
}

/// Adds a field; `images` collects all of its name.
fn add(fields: &mut Map<String, Value>, name: String, value: Value) {
    if name != "images" {
        fields.insert(name, value);
    } else if let Value::Array(all) = fields.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
        all.push(value);
    }
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
