//! Many requests of every kind, good and bad, at once and for long.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use igpt::model::Objective;
use serde_json::{Value, json};

use super::material::{base64, model, picture, requests};
use crate::server::Server;

/// What may be left of many requests in KiB: the allocator's slack, not something of each.
const GROWTH: u64 = 8 << 10;

/// Requests that are fine, and what each is answered when nobody else is served.
fn fine(server: &Server) -> Vec<(&'static str, Value, Value)> {
    let able = requests(8).into_iter().filter(|(path, _)| !["/v1/classify", "/v1/neighbors"].contains(path));
    able.map(|(path, body)| (path, body.clone(), server.post(path, &body).json())).collect()
}

/// Number `i` of the requests that are no good: refused, broken off, or not even HTTP.
fn bad(server: &Server, i: usize) {
    let file = picture(8, 1);
    let mut bomb = file.clone();
    bomb[16..24].fill(0x7f);
    let cut = &file[..file.len() / 2];
    match i % 9 {
        0 => drop(server.post("/v1/quantize", &json!({"image": base64(cut)})).refused(400)),
        1 => drop(server.post("/v1/score", &json!({"images": [base64(&bomb)]})).refused(400)),
        2 => drop(server.post("/v1/sample", &json!({"n": 1_000_000})).refused(400)),
        3 => drop(server.get(&format!("/nothing/{i}")).refused(404)),
        4 => drop(server.send("POST", "/v1/embed", &[("Content-Type", "application/json")], b"{\"").refused(400)),
        5 => drop(server.events("/v1/sample", &json!({"n": 30})).next()),
        6 => drop(server.raw(b"nonsense\r\n\r\n")),
        // The server has half of a request, or all, when the client leaves.
        half => {
            let head = "POST /v1/sample HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n";
            let body = if half == 7 { "{\"n\":" } else { "{\"n\": 20}" };
            server.connect().write_all(format!("{head}{body}").as_bytes()).unwrap();
        }
    }
}

#[test]
fn after_thousands_of_requests_nothing_is_left_and_every_answer_was_the_same() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path(), "m", Objective::Autoregressive);
    let server = Server::start(folder.path(), "--model m --queue 100000 --per-client 0");
    let fine = fine(&server);
    // As many as fit into some twenty seconds of a slow machine; all night where time does not matter.
    let many = if std::env::var_os("IGPT_SOAK").is_some() { 300_000 } else { 6000 };
    let serve = |requests: usize| {
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while let Some(i) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|i| *i < requests) {
                        let (path, body, answer) = &fine[i / 2 % fine.len()];
                        match i % 2 {
                            0 => assert_eq!(server.post(path, body).json(), *answer, "{path}"),
                            _ => bad(&server, i / 2),
                        }
                    }
                });
            }
        });
        server.becomes_idle();
    };
    serve(many / 3);
    let before = server.memory();
    serve(many);
    let after = server.memory();
    assert!(after < before + GROWTH, "{after} KiB, {before} after the first third");
    assert_eq!(server.get("/healthz").ok().text(), "ok");
    server.terminate();
    let (code, words) = server.ended();
    assert!(code == Some(0) && !words.contains("panicked"), "{words}");
}
