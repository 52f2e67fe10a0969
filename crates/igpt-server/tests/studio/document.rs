//! The routes keep to the document that the server gives of them, `/openapi.json`.

use std::collections::BTreeSet;

use igpt_server::ServeOptions;
use serde_json::{Value, json};

use crate::support::client::Answer;
use crate::support::material::{classifier, requests};
use crate::support::server::{Server, bundled, images, of};

/// What is wrong with `value` by a schema of the document; nothing is allowed that isn't documented.
fn fault(document: &Value, schema: &Value, value: &Value) -> Option<String> {
    if let Some(name) = schema["$ref"].as_str() {
        return fault(document, document.pointer(name.trim_start_matches('#')).unwrap(), value);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let faults: Option<Vec<String>> = choices.iter().map(|choice| fault(document, choice, value)).collect();
        return faults.map(|faults| faults.join(", "));
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let mut kinds = schema["type"].as_array().map_or_else(|| vec![&schema["type"]], |kinds| kinds.iter().collect());
    let number = Value::from("number");
    if kind == "integer" && kinds.contains(&&number) {
        kinds.push(&Value::Null);
    } else if !kinds.contains(&&kind.into()) {
        return Some(format!("{kind} instead of {}", schema["type"]));
    }
    if let Some(words) = schema["enum"].as_array().filter(|words| !words.contains(value)) {
        return Some(format!("{value} is none of {words:?}"));
    }
    let required = schema["required"].as_array().into_iter().flatten();
    if let Some(name) = required.map(|name| name.as_str().unwrap()).find(|name| value.get(name).is_none()) {
        return Some(format!("{name} is missing"));
    }
    let inside = |name: &dyn std::fmt::Display, schema: &Value, value: &Value| {
        fault(document, schema, value).map(|fault| format!("{name}: {fault}"))
    };
    match value {
        Value::Array(values) => values.iter().find_map(|value| inside(&"of the list", &schema["items"], value)),
        Value::Object(fields) => fields.iter().find_map(|(name, value)| match schema["properties"].get(name) {
            Some(schema) => inside(name, schema, value),
            None => Some(format!("{name} is not documented")),
        }),
        _ => None,
    }
}

/// Holds an answer to what is documented of its status and content.
fn keeps(document: &Value, operation: &Value, answer: &Answer) {
    let status = answer.status.to_string();
    let responses = &operation["responses"];
    let class = format!("{}XX", &status[..1]);
    let response = responses.get(&status).or(responses.get(&class)).unwrap_or_else(|| panic!("{status}: {operation}"));
    let kind = answer.header("content-type").split(';').next().unwrap();
    let content = response["content"].get(kind).unwrap_or_else(|| panic!("{kind}: {response}"));
    if kind == "application/json" {
        let value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(fault(document, &content["schema"], &value), None, "{}", operation["operationId"]);
    }
}

#[test]
fn every_documented_path_answers_as_documented() {
    let folder = tempfile::tempdir().unwrap();
    classifier(folder.path());
    let able = Server::start(ServeOptions {
        neighbors: Some(images(folder.path().join("classes"))),
        ..of(folder.path().join("run"))
    });
    let plain = Server::start(bundled());
    let document = able.get("/openapi.json").json();
    assert_eq!(document, plain.get("/openapi.json").json());
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    let paths = document["paths"].as_object().unwrap();
    let known = "/healthz /readyz /metrics /v1/models /v1/quantize /v1/sample /v1/complete /v1/score /v1/inspect /v1/predict \
                 /v1/embed /v1/classify /v1/neighbors";
    assert_eq!(paths.keys().map(String::as_str).collect::<BTreeSet<_>>(), known.split_whitespace().collect());
    for (path, operations) in paths {
        for (method, operation) in operations.as_object().unwrap() {
            if method == "get" {
                keeps(&document, operation, &able.get(path).ok());
                continue;
            }
            for (server, side) in [(&able, 8), (&plain, 16)] {
                let able = server.get("/v1/models").json()["models"][0]["can"].clone();
                for (_, body) in requests(side).iter().filter(|(name, _)| name == path) {
                    let answer = server.post(path, body);
                    keeps(&document, operation, &answer);
                    let can = able.get(path.trim_start_matches("/v1/")).is_none_or(|can| can == true);
                    assert_eq!(answer.status == 200, can, "{path}");
                    let mut wrong = body.clone();
                    wrong["nothing"] = json!(1);
                    keeps(&document, operation, &server.post(path, &wrong));
                }
            }
        }
    }
    for path in ["/v1/sample", "/v1/complete"] {
        let content = &document["paths"][path]["post"]["responses"]["200"]["content"];
        assert!(content.get("text/event-stream").is_some(), "{path}");
    }
}

#[test]
fn documented_requests_are_the_ones_that_are_understood() {
    let server = Server::start(bundled());
    let document = server.get("/openapi.json").json();
    for (path, body) in requests(16) {
        let content = document["paths"][path]["post"]["requestBody"]["content"].as_object().unwrap();
        assert!(content.contains_key("application/json") && content.contains_key("multipart/form-data"));
        for kind in content.values() {
            assert_eq!(fault(&document, &kind["schema"], &body), None, "{path}");
        }
    }
    // A value that is documented as the default gives what is drawn without it.
    let properties = &document["components"]["schemas"]["SampleRequest"]["properties"];
    let defaults =
        properties.as_object().unwrap().iter().map(|(name, schema)| (name.clone(), schema["default"].clone()));
    let body = Value::Object(defaults.collect());
    assert_eq!(server.post("/v1/sample", &body).json(), server.post("/v1/sample", &json!({})).json());
}

#[test]
fn another_path_is_not_found_and_another_method_not_allowed() {
    let server = Server::start(bundled());
    for path in
        ["/v1", "/v1/sample/", "/v1/samples", "/v2/sample", "/openapi", "/docs", "/metrics/x", "/favicon.ico.php"]
    {
        server.get(path).refused(404);
        server.post(path, &json!({})).refused(404);
    }
    let document = server.get("/openapi.json").json();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            if operations.get(method.to_lowercase()).is_some() {
                continue;
            }
            let answer = server.send(method, path, &[], if method == "POST" { b"{}" } else { b"" });
            answer.refused(405);
            for allowed in operations.as_object().unwrap().keys() {
                assert!(answer.header("allow").contains(&allowed.to_uppercase()), "{method} {path}");
            }
        }
    }
}
