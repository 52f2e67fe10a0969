//! Plan of a run: its number of steps, its memory, and a forecast of both.

pub(crate) mod forecast;
pub(super) mod measure;
pub(super) mod memory;
pub(crate) mod overhead;
pub(crate) mod planner;
pub(super) mod sizing;
pub(super) mod speed;

pub use forecast::{Forecast, MemoryParts, forecast};
pub use overhead::{SamplePlan, ValidationPlan};
pub use planner::{Planner, TimeBudget};
