//! `igpt serve`, `igpt watch` and the page of a training through the binary: answers beside those of the offline commands,
//! flags, signals. What they serve is tested in igpt-server.

#[path = "../../igpt-server/tests/support/client.rs"]
#[allow(dead_code, reason = "it is made for the tests of the server")]
mod client;
#[path = "../../igpt-server/tests/support/material.rs"]
#[allow(dead_code, reason = "it is made for the tests of the server")]
mod material;
mod program;
#[path = "program/server.rs"]
mod server;

mod serve {
    mod access;
    mod answers;
    mod endings;
    mod flags;
    mod watching;

    /// Flags of a server that takes [`long`](crate::material::long) requests, several of them.
    const ENDLESS: &str = "--max-images 2000 --queue 9000";
}
