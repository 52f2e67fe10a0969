//! Training by several processes: what the ranks have to agree on.

pub(super) mod agreement;
pub(super) mod outcome;
