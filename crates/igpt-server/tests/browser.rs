//! The studio and the live page in a real browser, against the real server. Without Chromium they are left out.

// What a test leaves out or measures is for whoever runs it.
#![allow(clippy::disallowed_macros)]

#[path = "browser/chromium.rs"]
mod chromium;
#[allow(dead_code, reason = "it is made for the tests of the API, and not all of it is needed here")]
mod support;

mod browser {
    mod connection;
    mod drawing;
    mod editing;
    mod hands;
    mod keyboard;
    mod live;
    mod looks;
    mod pictures;
    mod studio;
}
