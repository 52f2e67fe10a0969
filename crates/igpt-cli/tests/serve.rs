//! `igpt serve` through the binary: its answers beside those of the offline commands, its document, its limits, and
//! clients that keep to nothing.

mod program;
#[path = "program/server.rs"]
mod server;

mod serve {
    mod access;
    mod answers;
    mod clients;
    mod crowd;
    mod document;
    mod endings;
    mod events;
    mod limits;
    mod material;
    mod refusals;
    mod soak;
    mod watching;
}
