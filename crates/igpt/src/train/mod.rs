//! Pretraining: what a run is ([`RunConfig`]), its schedule and plan, checkpoints, metrics, and the loop itself.

pub mod config;
pub mod overrides;
pub mod plan;
pub mod schedule;

pub use config::{RunConfig, parse_n_px};
pub use overrides::Overrides;
pub use plan::{Plan, Planner};
pub use schedule::{Schedule, Warmup};
