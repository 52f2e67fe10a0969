//! Many are served side by side, and nobody's answer depends on it.

use std::cell::Cell;
use std::io::Write;
use std::sync::Barrier;
use std::thread;

use igpt::model::Objective;
use igpt_server::{ServeOptions, ServerLimits};
use serde_json::{Value, json};

use crate::support::client::until;
use crate::support::material::{base64, long, model, picture, requests};
use crate::support::server::{Server, bundled, limits};

#[test]
fn sixteen_at_once_get_what_each_gets_alone() {
    // Far fewer rows than images.
    let server = Server::start(ServeOptions { rows: 8, ..bundled() });
    let mut sent: Vec<(&str, Value)> = requests(16)
        .into_iter()
        .filter(|(path, _)| !["/v1/classify", "/v1/inspect", "/v1/neighbors"].contains(path))
        .collect();
    let image = base64(&picture(16, 6));
    let hole: Vec<bool> = (0..256).map(|at| (228..233).contains(&at)).collect();
    for seed in 0..4 {
        sent.push(("/v1/sample", json!({"n": 1, "seed": seed})));
        sent.push(("/v1/complete", json!({"image": image, "rows": 3 * seed + 3, "seed": seed})));
    }
    sent.push(("/v1/complete", json!({"image": image, "mask": hole, "candidates": 8})));
    assert!(sent.len() >= 16);
    let ask = |(path, body): &(&str, Value)| server.post(path, body).json();
    let alone: Vec<Value> = sent.iter().map(ask).collect();
    let together = Barrier::new(sent.len());
    thread::scope(|scope| {
        for (one, alone) in sent.iter().zip(&alone) {
            let together = &together;
            scope.spawn(move || {
                together.wait();
                assert_eq!(ask(one), *alone, "{one:?}");
            });
        }
    });
    server.becomes_idle();
}

#[test]
fn a_request_joins_one_that_is_being_drawn_and_both_get_what_they_get_alone() {
    let server = Server::start(ServeOptions { rows: 2, ..bundled() });
    let (first, second) = (json!({"seed": 1}), json!({"seed": 2}));
    let alone = [&first, &second].map(|body| server.post("/v1/sample", body).json());
    let side_by_side = Cell::new(false);
    until(|| {
        let mut one = server.events("/v1/sample", &first);
        assert!(one.by_ref().any(|(name, _)| name == "pixels"));
        let mut other = server.events("/v1/sample", &second);
        assert!(other.by_ref().any(|(name, _)| name == "pixels"));
        side_by_side.set(server.metric("igpt_busy_rows") == 2.0);
        let done = [one.last().unwrap().1, other.last().unwrap().1];
        assert_eq!(done, alone);
        side_by_side.get()
    });
}

#[test]
fn what_is_no_drawing_is_answered_while_one_goes_on() {
    let server = Server::start(ServeOptions {
        rows: 1,
        limits: ServerLimits { images: 2000, queue: 9000, ..limits() },
        ..bundled()
    });
    let mut long = server.events("/v1/sample", &long());
    assert!(long.by_ref().any(|(name, _)| name == "pixels"));
    for (path, body) in requests(16) {
        if ["/v1/score", "/v1/embed", "/v1/predict", "/v1/quantize"].contains(&path) {
            server.post(path, &body).ok();
        }
    }
    assert_eq!(server.metric("igpt_busy_rows"), 1.0);
    assert!(server.metric("igpt_queue_length") > 0.0);
}

#[test]
fn a_stream_that_is_dropped_frees_its_rows() {
    let server = Server::start(ServeOptions {
        rows: 3,
        limits: ServerLimits { images: 2000, queue: 9000, ..limits() },
        ..bundled()
    });
    let mut streams = [(); 2].map(|()| server.events("/v1/sample", &long()));
    for stream in &mut streams {
        assert_eq!(stream.next().unwrap().0, "start");
    }
    until(|| server.metric("igpt_busy_rows") == 3.0);
    drop(streams);
    server.becomes_idle();
}

#[test]
fn a_client_that_leaves_before_its_answer_frees_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path(), "m", Objective::Autoregressive);
    let server = Server::start(ServeOptions {
        rows: 3,
        limits: ServerLimits { images: 2000, queue: 9000, ..limits() },
        ..bundled()
    });
    let body = long().to_string();
    let head = format!("Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {}", body.len());
    let mut client = server.connect();
    client.write_all(format!("POST /v1/sample HTTP/1.1\r\n{head}\r\n\r\n{body}").as_bytes()).unwrap();
    until(|| server.metric("igpt_busy_rows") == 3.0);
    drop(client);
    server.becomes_idle();
}
