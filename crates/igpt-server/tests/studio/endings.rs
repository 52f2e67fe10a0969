//! A server that is told to stop.

use std::thread;

use igpt_server::{ServeOptions, ServerLimits};
use serde_json::json;

use crate::support::client::until;
use crate::support::material::long;
use crate::support::server::{Server, bundled, limits};

/// A server whose images come one by one, any number of them.
fn slow() -> ServeOptions {
    ServeOptions { rows: 1, limits: ServerLimits { images: 2000, queue: 9000, ..limits() }, ..bundled() }
}

#[test]
fn an_idle_server_stops_at_once() {
    // Its client keeps the connection for more.
    let server = Server::start(ServeOptions { limits: ServerLimits { grace: 100_000, ..limits() }, ..bundled() });
    server.get("/healthz").ok();
    server.stop();
    server.ended().unwrap();
}

#[test]
fn what_is_under_way_is_finished_before_the_server_stops() {
    let server = Server::start(slow());
    let alone = server.post("/v1/sample", &json!({"n": 4})).json();
    let mut stream = server.events("/v1/sample", &json!({"n": 4}));
    assert_eq!(stream.next().unwrap().0, "start");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| server.post("/v1/sample", &json!({"n": 4})).json());
        // What is drawn for the stream, and what waits.
        until(|| server.metric("igpt_queue_length") >= 4.0);
        server.stop();
        let (name, data) = stream.last().unwrap();
        assert_eq!((name.as_str(), &data), ("done", &alone));
        assert_eq!(waiting.join().unwrap(), alone);
    });
    server.ended().unwrap();
}

#[test]
fn a_server_that_stops_takes_nothing_new() {
    let server = Server::start(slow());
    let stream = server.events("/v1/sample", &long());
    let address = server.address().to_string();
    server.stop();
    until(|| match std::net::TcpStream::connect(&address) {
        Err(_) => true,
        Ok(mut client) => {
            use std::io::{Read, Write};
            let mut answer = String::new();
            let asked = client.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            let _ = asked.and_then(|()| client.read_to_string(&mut answer));
            !answer.starts_with("HTTP/1.1 200")
        }
    });
    drop(stream);
    server.ended().unwrap();
}

#[test]
fn requests_that_do_not_finish_in_the_grace_are_counted() {
    let options = slow();
    let server = Server::start(ServeOptions { limits: ServerLimits { grace: 0, ..options.limits.clone() }, ..options });
    let streams = [(); 3].map(|()| server.events("/v1/sample", &long()));
    server.stop();
    let said = server.ended().unwrap_err().to_string();
    assert!(said.contains("3 requests") && said.contains("--grace"), "{said}");
    drop(streams);
}
