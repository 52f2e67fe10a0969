//! What a run will take: its steps, whether it fits into memory, and a forecast of it all.

pub mod beside;
pub mod forecast;
pub(super) mod measure;
pub(super) mod memory;
pub mod planner;
pub(super) mod sizing;
pub(super) mod speed;

pub use forecast::{Forecast, forecast};
pub use planner::{Clock, Planner};
