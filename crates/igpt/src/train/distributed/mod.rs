//! Training by several processes: what they settle with each other.

pub(super) mod agreement;
pub(super) mod outcome;
