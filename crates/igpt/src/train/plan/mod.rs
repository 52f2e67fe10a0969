//! What a run will take: its steps, whether it fits into memory, and a forecast of it all.

pub mod forecast;
pub(super) mod memory;
pub mod planner;

pub use forecast::{Forecast, forecast};
pub use planner::Planner;
