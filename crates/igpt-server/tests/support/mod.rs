//! What the tests of the server share: the server itself, a client, and what is sent and served.

pub(crate) mod client;
pub(crate) mod material;
pub(crate) mod server;
