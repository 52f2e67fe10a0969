//! A server that the system tells to stop.
#![cfg(unix)]

use super::ENDLESS;
use crate::client::until;
use crate::material::long;
use crate::server::Server;

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
