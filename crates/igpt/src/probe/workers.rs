//! Who computes a probe: an instruction set and a team of threads.

use igpt_kernels::Isa;
use igpt_kernels::pool::Pool;

/// The instruction set and the threads of a probe. Neither threads nor their number change a bit of a result.
#[derive(Debug)]
pub struct Workers {
    pub(super) isa: Isa,
    pub(super) pool: Pool,
}

impl Workers {
    /// A team of `threads`, 0 for one a core, on the best instruction set of this processor.
    pub fn new(threads: usize) -> Self {
        Self { isa: Isa::detect(), pool: Pool::new(Pool::team(threads)) }
    }
}
