//! igpt over HTTP: a model as an API with a page to play and work with ([`serve`]), and the live page of a training run
//! ([`watch`]).
//!
//! `access` and `origin` say who may come in, `connections`, `http` and `refusal` are what both servers share. Below `studio`:
//! `worker` is the one thread that computes, everything else turns requests into its jobs and back.

mod access;
mod assets;
mod authority;
mod connections;
mod http;
mod live;
mod origin;
mod refusal;
mod studio;

pub use access::Access;
pub use live::{LivePage, watch};
pub use studio::{ServeOptions, ServerLimits, serve};
