//! Helpers for tests of this crate and of other backends: small networks, and the conformance suite.
//!
//! They require the feature `testing`. A backend passes if every claim of [`conformance::claims`] holds for it:
//!
//! ```
//! use igpt::device::CpuBackend;
//! use igpt::testing::conformance::{Subject, claims};
//!
//! let backend = CpuBackend::default();
//! let subject = Subject::new(&backend);
//! for (name, claim) in claims().iter().filter(|(name, _)| name.starts_with("features::")) {
//!     println!("{name}");
//!     claim(&subject); // panics where it does not hold
//! }
//! ```

pub mod conformance;
mod toy;

pub use toy::{batch_for, classifier, masked_network, random_batch, random_weights, tiny_network};
