//! The operating system's view of this process and its machine: memory, processor time, host name.

mod limits;
mod process;
mod size;

pub use limits::{MachineLimits, expect_memory};
pub use process::{CpuTime, host_name, peak_rss_bytes, rss_bytes};
pub use size::format_bytes;
