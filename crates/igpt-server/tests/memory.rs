//! Memory of a server: that of many requests of every kind, good and bad, at once and for long, and of images that are
//! larger than they look. It is that of the whole process, so nothing else is tested here.
#![cfg(target_os = "linux")]

#[allow(dead_code, reason = "it is made for the tests of the studio, and not all of it is needed here")]
mod support;

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use igpt::model::Objective;
use igpt_server::{ServeOptions, ServerLimits};
use serde_json::{Value, json};

use support::material::{base64, model, picture, requests};
use support::server::{Server, bundled, limits, of};

/// What may be left of many requests in KiB: the allocator's slack, not something of each.
const GROWTH: u64 = 8 << 10;

/// Held by the one test that runs.
fn alone() -> impl Drop {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Resident memory in KiB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Requests that are fine, and what each is answered when nobody else is served.
fn fine(server: &Server) -> Vec<(&'static str, Value, Value)> {
    let able =
        requests(8).into_iter().filter(|(path, _)| !["/v1/classify", "/v1/inspect", "/v1/neighbors"].contains(path));
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
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    model(folder.path(), "m", Objective::Autoregressive);
    let server = Server::start(ServeOptions {
        limits: ServerLimits { queue: 100_000, per_client: 0, ..limits() },
        ..of(folder.path().join("m"))
    });
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
    let before = memory();
    serve(many);
    let after = memory();
    assert!(after < before + GROWTH, "{after} KiB, {before} after the first third");
    assert_eq!(server.get("/healthz").ok().text(), "ok");
    server.stop();
    server.ended().unwrap();
}

/// The checksum of a PNG file's chunk.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 })
    })
}

#[test]
fn more_pixels_than_the_limit_are_refused_before_they_are_decoded() {
    let _alone = alone();
    let server = Server::start(ServeOptions { limits: ServerLimits { pixels: 1_000_000, ..limits() }, ..bundled() });
    let ask = |file: &[u8]| server.post("/v1/quantize", &json!({"image": base64(file)}));
    ask(&picture(1000, 1)).ok();
    let before = memory();
    let problem = ask(&picture(1001, 1)).refused(400);
    assert!(problem.contains("1001×1001"), "{problem}");
    // No more than a head: 50000×50000 pixels would need 7 GB.
    let mut bomb = picture(16, 1);
    bomb[16..24].copy_from_slice(&[0, 0, 0xc3, 0x50, 0, 0, 0xc3, 0x50]);
    bomb.splice(29..33, crc(&bomb[12..29]).to_be_bytes());
    for body in [json!({"image": base64(&bomb)}), json!({"image": base64(&bomb), "rows": 3})] {
        let path = if body["rows"].is_null() { "/v1/quantize" } else { "/v1/complete" };
        let problem = server.post(path, &body).refused(400);
        assert!(problem.contains("50000"), "{problem}");
    }
    assert!(memory() < before + (64 << 10), "{} KiB, before {before}", memory());
}
