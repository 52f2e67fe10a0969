//! A server that is told to stop.
#![cfg(unix)]

use std::thread;

use serde_json::json;

use super::material::{ENDLESS, long};
use crate::server::{Server, until};

/// A server whose images come one by one, any number of them.
fn slow(more: &str) -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &format!("--rows 1 {ENDLESS} {more}"));
    (folder, server)
}

#[test]
fn an_idle_server_stops_at_once() {
    let folder = tempfile::tempdir().unwrap();
    // Its client keeps the connection for more.
    let server = Server::start(folder.path(), "--grace 100000");
    server.get("/healthz").ok();
    server.terminate();
    assert_eq!(server.ended().0, Some(0));
}

#[test]
fn what_is_under_way_is_finished_before_the_server_stops() {
    let (_folder, server) = slow("");
    let alone = server.post("/v1/sample", &json!({"n": 4})).json();
    let mut stream = server.events("/v1/sample", &json!({"n": 4}));
    assert_eq!(stream.next().unwrap().0, "start");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| server.post("/v1/sample", &json!({"n": 4})).json());
        // What is drawn for the stream, and what waits.
        until(|| server.metric("igpt_queue_length") >= 4.0);
        server.terminate();
        let (name, data) = stream.last().unwrap();
        assert_eq!((name.as_str(), &data), ("done", &alone));
        assert_eq!(waiting.join().unwrap(), alone);
    });
    let (code, words) = server.ended();
    assert_eq!(code, Some(0), "{words}");
    assert!(!words.contains("open"), "{words}");
}

#[test]
fn a_server_that_stops_takes_nothing_new() {
    let (_folder, server) = slow("");
    let stream = server.events("/v1/sample", &long());
    let address = server.address().to_string();
    server.terminate();
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
    assert_eq!(server.ended().0, Some(0));
}

#[test]
fn requests_that_do_not_finish_in_the_grace_are_counted() {
    let (_folder, server) = slow("--grace 0");
    let streams = [(); 3].map(|()| server.events("/v1/sample", &long()));
    server.terminate();
    let (code, words) = server.ended();
    assert!(code == Some(1) && words.contains("3 requests") && words.contains("--grace"), "{code:?} {words}");
    drop(streams);
}

#[test]
fn a_second_signal_ends_at_once() {
    let (_folder, server) = slow("--grace 100000");
    let stream = server.events("/v1/sample", &long());
    server.terminate();
    // The first must have arrived: nobody new is let in.
    until(|| std::net::TcpStream::connect(server.address()).is_err());
    // One that comes at once is the same wish.
    assert_ne!(server.ended_while(Server::terminate).0, Some(0));
    drop(stream);
}
