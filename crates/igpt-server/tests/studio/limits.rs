//! What one client can take is limited, and what is too much is refused with the limit.

use std::io::{Read, Write};

use igpt::formats::png;
use igpt::formats::png::TextChunks;
use igpt::image::ImageSize;
use igpt::image::Pixels;
use igpt::model::Objective;
use igpt_server::{ServeOptions, ServerLimits};
use serde_json::json;

use crate::support::client::until;
use crate::support::material::{base64, long, model, picture};
use crate::support::server::{Server, bundled, limits, of};

#[test]
fn a_body_above_the_limit_is_refused() {
    let server = Server::start(ServeOptions { limits: ServerLimits { body: 1 << 20, ..limits() }, ..bundled() });
    let most = 1 << 20;
    let sent = |letters: usize| {
        let body = format!("{{\"images\": [\"{}\"]}}", "A".repeat(letters));
        server.send("POST", "/v1/score", &[("Content-Type", "application/json")], body.as_bytes())
    };
    // Below the limit it is looked at.
    assert!(sent(most - 100).refused(400).contains("image"));
    sent(most).refused(413);
    for kind in ["application/json", "multipart/form-data; boundary=cut"] {
        let head =
            format!("POST /v1/score HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {kind}\r\n");
        // Nothing is announced here, so it has to be counted.
        let mut chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
        let part = "--cut\r\nContent-Disposition: form-data; name=\"images\"; filename=\"a.png\"\r\n\r\n";
        let start = if kind.contains("json") { "{\"images\": [\"" } else { part };
        let body = format!("{start}{}", "A".repeat(most + 1 - start.len()));
        chunked += &format!("{:x}\r\n{body}\r\n", body.len());
        server.raw(chunked.as_bytes()).unwrap().refused(413);
    }
}

#[test]
fn a_body_that_is_announced_above_the_limit_is_refused_before_it_is_sent() {
    let server =
        Server::start(ServeOptions { limits: ServerLimits { body: 1 << 20, seconds: 1, ..limits() }, ..bundled() });
    for kind in ["application/json", "multipart/form-data; boundary=cut"] {
        let head =
            format!("POST /v1/score HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {kind}\r\n");
        server.raw(format!("{head}Content-Length: {}\r\n\r\n", (1 << 20) + 1).as_bytes()).unwrap().refused(413);
    }
}

#[test]
fn images_that_take_long_to_decode_hold_nobody_else_up() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path(), "m", Objective::Autoregressive);
    let server = Server::start(of(folder.path().join("m")));
    let size = ImageSize::square(6000);
    let file = base64(&png::encode(&Pixels::new(size, 1, vec![7; size.pixels()]), &TextChunks::new("test")));
    let body = json!({"images": vec![file; 8]}).to_string();
    let head = format!("Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {}", body.len());
    // One more than there are threads to decode on, and than there are to carry bytes.
    let clients: Vec<_> = (0..5)
        .map(|_| {
            let mut client = server.connect();
            client.write_all(format!("POST /v1/score HTTP/1.1\r\n{head}\r\n\r\n{body}").as_bytes()).unwrap();
            client
        })
        .collect();
    until(|| server.metric("igpt_open_requests") == 6.0);
    assert_eq!(server.get("/healthz").ok().text(), "ok");
    server.post("/v1/sample", &json!({"n": 1})).ok();
    assert_eq!(server.metric("igpt_open_requests"), 6.0);
    // What waits to be decoded goes with its client.
    drop(clients);
    server.becomes_idle();
}

#[test]
fn images_that_take_longer_than_the_limit_are_given_up_with_it() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path(), "m", Objective::Autoregressive);
    let server =
        Server::start(ServeOptions { limits: ServerLimits { seconds: 1, ..limits() }, ..of(folder.path().join("m")) });
    let size = ImageSize::square(6000);
    let file = base64(&png::encode(&Pixels::new(size, 1, vec![7; size.pixels()]), &TextChunks::new("test")));
    let problem = server.post("/v1/score", &json!({"images": vec![file; 60]})).refused(503);
    assert!(problem.contains("1 s"), "{problem}");
    server.becomes_idle();
}

#[test]
fn more_images_than_the_limit_are_refused_with_it() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path(), "m", Objective::Autoregressive);
    let server =
        Server::start(ServeOptions { limits: ServerLimits { images: 3, ..limits() }, ..of(folder.path().join("m")) });
    let limits = server.get("/v1/models").json()["models"][0]["limits"].clone();
    assert_eq!((&limits["images"], &limits["completions"]), (&3.into(), &3.into()));
    let tokens = vec![1; 64];
    for most in [3, 4] {
        let sent = [
            ("/v1/sample", json!({"n": most})),
            ("/v1/complete", json!({"tokens": tokens, "rows": 7, "completions": most})),
            ("/v1/score", json!({"tokens": vec![&tokens; most]})),
            ("/v1/embed", json!({"tokens": vec![&tokens; most]})),
        ];
        for (path, body) in sent {
            let answer = server.post(path, &body);
            if most == 3 {
                answer.ok();
            } else {
                let problem = answer.refused(400);
                assert!(problem.contains('3') && problem.contains('4'), "{path}: {problem}");
            }
        }
    }
    // Candidates have a limit of their own.
    let mut hole = vec![false; 64];
    hole[3] = true;
    let most = limits["candidates"].as_u64().unwrap();
    let ask = |n: u64| server.post("/v1/complete", &json!({"tokens": tokens, "mask": hole, "candidates": n}));
    ask(most).ok();
    let problem = ask(most + 1).refused(400);
    assert!(problem.contains(&most.to_string()), "{problem}");
}

#[test]
fn a_full_queue_says_when_to_come_again() {
    let server = Server::start(ServeOptions {
        rows: 1,
        limits: ServerLimits { images: 2000, queue: 1999, ..limits() },
        ..bundled()
    });
    let stream = server.events("/v1/sample", &long());
    until(|| server.metric("igpt_busy_rows") == 1.0);
    let answer = server.post("/v1/sample", &json!({"n": 2}));
    answer.refused(503);
    assert!(answer.header("retry-after").parse::<u32>().unwrap() >= 1);
    drop(stream);
    until(|| server.post("/v1/sample", &json!({"n": 2})).status == 200);
}

#[test]
fn a_client_has_only_so_many_requests_at_a_time() {
    let server = Server::start(ServeOptions {
        rows: 1,
        limits: ServerLimits { images: 2000, queue: 9000, per_client: 2, ..limits() },
        ..bundled()
    });
    let streams = [(); 2].map(|()| server.events("/v1/sample", &long()));
    let problem = server.post("/v1/sample", &json!({})).refused(429);
    assert!(problem.contains('2'), "{problem}");
    // Whoever looks after the server must not be kept out by its clients.
    assert_eq!(server.get("/healthz").ok().text(), "ok");
    drop(streams);
    until(|| server.post("/v1/sample", &json!({})).status == 200);
}

#[test]
fn without_a_limit_for_each_client_a_proxy_may_have_many() {
    let server = Server::start(ServeOptions {
        rows: 1,
        limits: ServerLimits { images: 2000, queue: 500_000, per_client: 0, ..limits() },
        ..bundled()
    });
    let streams = [(); 70].map(|()| server.events("/v1/sample", &long()));
    server.post("/v1/quantize", &json!({"image": base64(&picture(16, 1))})).ok();
    drop(streams);
    server.becomes_idle();
}

#[test]
fn what_takes_longer_than_the_limit_is_ended_with_it() {
    let server = Server::start(ServeOptions {
        rows: 1,
        limits: ServerLimits { images: 2000, queue: 9000, seconds: 1, ..limits() },
        ..bundled()
    });
    let problem = server.post("/v1/sample", &long()).refused(503);
    assert!(problem.contains("1 s"), "{problem}");
    let (name, data) = server.events("/v1/sample", &long()).last().unwrap();
    assert_eq!(name, "error");
    assert!(data["error"].as_str().unwrap().contains("1 s"), "{data}");
    server.becomes_idle();
}

#[test]
fn a_body_that_never_comes_whole_is_ended_with_the_limit_and_a_reason() {
    let server = Server::start(ServeOptions { limits: ServerLimits { seconds: 1, ..limits() }, ..bundled() });
    let head =
        "POST /v1/sample HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n";
    server.raw(format!("{head}{{").as_bytes()).unwrap().refused(408);
    server.becomes_idle();
}

#[test]
fn a_head_that_never_comes_whole_is_ended_with_the_limit() {
    let server = Server::start(ServeOptions { limits: ServerLimits { seconds: 1, ..limits() }, ..bundled() });
    for start in ["", "GET /healthz HTTP/1.1\r\nHost: "] {
        let mut client = server.connect();
        client.write_all(start.as_bytes()).unwrap();
        client.read_to_end(&mut vec![]).unwrap_or_else(|_| panic!("after {start:?} the connection stays open"));
    }
}

#[test]
fn a_stream_that_nobody_reads_is_ended_with_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path(), "m", Objective::Autoregressive);
    let server = Server::start(ServeOptions {
        limits: ServerLimits { images: 20_000, queue: 20_000, seconds: 15, ..limits() },
        ..of(folder.path().join("m"))
    });
    // More than the buffers between the two hold.
    let stream = server.events("/v1/sample", &json!({"n": 20_000}));
    server.becomes_idle();
    drop(stream);
}
