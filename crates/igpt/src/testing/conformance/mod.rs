//! Conformance suite: claims that every [`Backend`](crate::device::Backend) has to fulfil, which panic if they don't
//! hold.
//!
//! The claims use a backend through its public interface only: values by name and shape, gradients by bucket. Claims
//! about bits compare a backend with itself. Claims with a tolerance take it from the subject's [`Budget`].

mod budget;
mod list;
mod subject;

pub mod bits;
pub mod decoding;
pub mod features;
pub mod goldens;
pub mod gradients;
pub mod groups;
pub mod objectives;
pub mod refusals;
pub mod shares;
pub mod state;
pub mod updates;

pub use budget::{Budget, ParityBudget};
pub use list::claims;
pub use subject::{Claim, Subject};

use subject::{ADAM, MUON, expect_equal, gradients, moments, tensors_of, weights_of};
