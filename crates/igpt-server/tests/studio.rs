//! The studio and its API: answers, their document, limits, and clients that keep to nothing.

#[allow(dead_code, reason = "it is made for the tests of the live page, too")]
mod support;

mod studio {
    mod access;
    mod answers;
    mod clients;
    mod crowd;
    mod document;
    mod endings;
    mod events;
    mod inspecting;
    mod limits;
    mod refusals;
}
