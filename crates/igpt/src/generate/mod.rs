//! Sampling and completion.
