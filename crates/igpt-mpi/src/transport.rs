//! Messages between two ranks over MPI.

use std::time::{Duration, Instant};

use igpt::ranks::Transport;
use igpt::{Error, Result};
use mpi::Threading;
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, Destination, Source};

use crate::end::end_all;
use crate::watch::Watch;

/// Bytes of a message at most: MPI counts them in 31 bits.
const MESSAGE: usize = 1 << 28;
/// Tag of what ranks have to tell each other.
const TAG: i32 = 1;
/// Tests of a request before the thread sleeps between them, a few microseconds each.
const EAGER_TESTS: u32 = 200;
/// Between tests of a request that takes longer.
const NAP: Duration = Duration::from_micros(50);

/// This rank's MPI. All calls come from the thread that opened it.
pub(crate) struct Mpi {
    world: SimpleCommunicator,
    watch: Watch,
    /// Ends MPI when dropped, after everything else.
    _universe: Universe,
}

impl Mpi {
    /// Initialises MPI; a rank that gives no sign of life for `timeout` counts as lost.
    pub(crate) fn open(timeout: Duration) -> Result<Self> {
        let (mut universe, _) = mpi::initialize_with_threading(Threading::Funneled)
            .ok_or_else(|| Error::Invalid("MPI is initialised already".into()))?;
        let world = universe.world();
        let watch = Watch::new(world.rank() as usize, world.size() as usize, timeout);
        universe.set_buffer_size(watch.buffer_bytes());
        Ok(Self { world, watch, _universe: universe })
    }
}

impl Drop for Mpi {
    fn drop(&mut self) {
        self.watch.hear_the_last(&self.world);
    }
}

impl Transport for Mpi {
    fn rank(&self) -> usize {
        self.world.rank() as usize
    }

    fn size(&self) -> usize {
        self.world.size() as usize
    }

    fn host(&self) -> String {
        mpi::environment::processor_name().unwrap_or_else(|_| "unknown".into())
    }

    fn introduce(&mut self, hosts: &[String]) {
        self.watch.introduce(hosts);
    }

    fn exchange(&mut self, with: usize, out: &[u8], incoming: &mut [u8]) -> Result<()> {
        let Self { world, watch, .. } = self;
        let peer = world.process_at_rank(with as i32);
        let (mut out, mut incoming) = (out.chunks(MESSAGE), incoming.chunks_mut(MESSAGE));
        let begun = Instant::now();
        loop {
            let (out, incoming) = (out.next(), incoming.next());
            if out.is_none() && incoming.is_none() {
                return Ok(());
            }
            mpi::request::scope(|scope| {
                let mut receiving = incoming.map(|incoming| peer.immediate_receive_into_with_tag(scope, incoming, TAG));
                let mut sending = out.map(|out| peer.immediate_send_with_tag(scope, out, TAG));
                let mut tests = 0;
                loop {
                    receiving = receiving.and_then(|request| request.test().err());
                    sending = sending.and_then(|request| request.test().err());
                    if receiving.is_none() && sending.is_none() {
                        return;
                    }
                    tests += 1;
                    if tests > EAGER_TESTS {
                        std::thread::sleep(NAP);
                        watch.wait(world, begun);
                    } else {
                        std::thread::yield_now();
                    }
                }
            });
        }
    }

    fn poll(&mut self) {
        self.watch.look(&self.world, false);
    }

    fn prepare_close(&mut self) {
        self.watch.hush();
    }

    fn abort(&mut self, message: &str) {
        end_all(&self.world, message);
    }
}
