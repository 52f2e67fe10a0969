//! igpt over HTTP: an API for a model with a web page ([`serve`]), and the live page of a training run ([`watch`]).
//!
//! `access` and `origin` decide which requests are admitted; `connections`, `http` and `refusal` are common to both
//! servers. In `studio`, `worker` is the single thread that computes, and everything else converts requests to its jobs
//! and back.

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
