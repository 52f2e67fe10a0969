//! Workers of a probe: an instruction set and a team of threads.

use igpt_kernels::Isa;
use igpt_kernels::pool::Pool;

/// Instruction set and threads of a probe.
///
/// The number of threads does not change a bit of a result.
#[derive(Debug)]
pub struct Workers {
    pub(super) isa: Isa,
    pub(super) pool: Pool,
}

impl Workers {
    /// Starts a team of `threads`, 0 for one per core, with the best instruction set of this processor.
    pub fn new(threads: usize) -> Self {
        Self { isa: Isa::detect(), pool: Pool::new(Pool::thread_count(threads)) }
    }
}
