//! Clients that keep to nothing: slow ones, ones that don't listen, ones that speak another language.

use std::io::Write;

use igpt::model::Objective;
use igpt_server::{ServeOptions, ServerLimits};
use serde_json::json;

use crate::support::client::until;
use crate::support::material::model;
use crate::support::server::{Server, limits, of};

const HEAD: &str = "POST /v1/sample HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";

#[test]
fn what_is_no_http_is_refused_and_harms_nobody() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path(), "m", Objective::Autoregressive);
    let server = Server::start(of(folder.path().join("m")));
    let long = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(1 << 20));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(10_000));
    let wide = format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "b".repeat(1 << 20));
    let negative = format!("{HEAD}Content-Length: -1\r\n\r\n");
    let two = format!("{HEAD}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}");
    let chunks = format!("{HEAD}Transfer-Encoding: chunked\r\n\r\nxyz\r\n{{}}\r\n0\r\n\r\n");
    let texts =
        [&long, &many, &wide, &negative, &two, &chunks, "GET / HTTP/7\r\n\r\n", "\r\n\r\n GET\r\n\r\n", "a b c d\n\n"];
    let tls = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0];
    for bytes in texts.iter().map(|text| text.as_bytes()).chain([&tls[..], &[0; 4096], &[0xff; 4096]]) {
        if let Some(answer) = server.raw(bytes) {
            assert!((400..500).contains(&answer.status), "{} to {:?}", answer.status, &bytes[..bytes.len().min(40)]);
        }
    }
    server.post("/v1/sample", &json!({})).ok();
}

#[test]
fn clients_that_send_slowly_hold_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path(), "m", Objective::Autoregressive);
    let server = Server::start(of(folder.path().join("m")));
    let body = format!("{HEAD}Content-Length: 100\r\n\r\n{{\"n\":");
    let form = "POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=cut\r\n";
    let form = format!("{form}Content-Length: 900\r\n\r\n--cut\r\nContent-Disposition: form-data; name=\"images\"\r\n");
    let slow: Vec<_> = ["GET", HEAD, &body, &form]
        .repeat(15)
        .iter()
        .map(|start| {
            let mut client = server.connect();
            client.write_all(start.as_bytes()).unwrap();
            client
        })
        .collect();
    for _ in 0..5 {
        server.post("/v1/sample", &json!({"n": 3})).ok();
    }
    drop(slow);
    server.becomes_idle();
}

#[test]
fn clients_that_do_not_read_hold_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path(), "m", Objective::Autoregressive);
    let server = Server::start(ServeOptions {
        limits: ServerLimits { images: 20_000, queue: 40_000, ..limits() },
        ..of(folder.path().join("m"))
    });
    let alone = server.post("/v1/sample", &json!({"n": 2})).json();
    // More than the buffers between the two hold.
    let stream = server.events("/v1/sample", &json!({"n": 20_000}));
    assert_eq!(server.post("/v1/sample", &json!({"n": 2})).json(), alone);
    until(|| server.metric("igpt_busy_rows") == 0.0 && server.metric("igpt_queue_length") == 0.0);
    // All is drawn, but not yet sent.
    assert_eq!(server.metric("igpt_open_requests"), 2.0);
    assert_eq!(server.post("/v1/sample", &json!({"n": 2})).json(), alone);
    drop(stream);
    server.becomes_idle();
}
