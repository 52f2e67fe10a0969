//! Signs of life: each rank sends one to every other now and then, so that a rank that is stopped, lost or stuck is
//! noticed in a stated time and named, whoever happens to wait for it.
//!
//! A process that is killed needs none of this: mpirun sees it end, names it and ends the others.

use std::time::{Duration, Instant};

use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, Destination, Source};

use crate::end::end_all;

/// Tag of signs of life.
const TAG: i32 = 2;
/// Signs of life in a timeout, at least.
const SIGNS: u32 = 6;
/// Timeouts for which a rank may live without coming to where the others wait: rank 0 draws, probes and saves
/// meanwhile.
const PATIENCE: u32 = 60;
/// Room for a sign of life on its way, MPI's own data included.
const SIGN_BYTES: usize = 512;

/// For the last signs to come.
const ON_ITS_WAY: Duration = Duration::from_millis(20);

/// What is known of the other ranks.
pub(crate) struct Watch {
    rank: usize,
    timeout: Duration,
    hosts: Vec<String>,
    /// When each was last heard of, and whether it was waiting then.
    heard: Vec<(Instant, bool)>,
    told: Instant,
    /// Whether no more signs are to be sent.
    hushed: bool,
}

impl Watch {
    pub(crate) fn new(rank: usize, size: usize, timeout: Duration) -> Self {
        let now = Instant::now();
        // So that seldom several ranks tell of the same.
        let timeout = timeout + Duration::from_millis(50) * rank as u32;
        let (hosts, heard) = (vec!["unknown".into(); size], vec![(now, false); size]);
        Self { rank, timeout, hosts, heard, told: now, hushed: false }
    }

    pub(crate) fn introduce(&mut self, hosts: &[String]) {
        self.hosts = hosts.to_vec();
    }

    /// Bytes of signs that may be on their way to ranks that don't take them.
    pub(crate) fn buffer_bytes(&self) -> usize {
        let signs = self.timeout.as_secs_f64() / self.interval().as_secs_f64();
        2 * signs.ceil() as usize * SIGN_BYTES * self.heard.len()
    }

    /// Between two signs of life.
    fn interval(&self) -> Duration {
        (self.timeout / SIGNS).min(Duration::from_secs(10))
    }

    /// To be called often while waiting since `begun` for another rank.
    pub(crate) fn wait(&mut self, world: &SimpleCommunicator, begun: Instant) {
        self.look(world, true);
        if begun.elapsed() < PATIENCE * self.timeout {
            return;
        }
        let busy = (0..self.heard.len()).find(|&rank| rank != self.rank && !self.heard[rank].1);
        let Some(busy) = busy else { return };
        let seconds = begun.elapsed().as_secs();
        self.end(world, busy, &format!("lives, but has not come to where the others wait for {seconds} s"));
    }

    /// Takes in what has come.
    fn hear(&mut self, world: &SimpleCommunicator, now: Instant) {
        while let Some((message, _)) = world.any_process().immediate_matched_probe_with_tag(TAG) {
            let (waits, status): (bool, _) = mpi::point_to_point::Message::matched_receive(message);
            self.heard[status.source_rank() as usize] = (now, waits);
        }
    }

    /// Sends no more signs.
    pub(crate) fn hush(&mut self) {
        self.hushed = true;
    }

    /// Takes in what is still on its way when all have hushed: MPICH complains of what is not taken.
    pub(crate) fn hear_the_last(&mut self, world: &SimpleCommunicator) {
        if self.hushed {
            std::thread::sleep(ON_ITS_WAY);
            self.hear(world, Instant::now());
        }
    }

    /// Sends and receives what is due, and ends all ranks if one has been silent for too long.
    pub(crate) fn look(&mut self, world: &SimpleCommunicator, waiting: bool) {
        let now = Instant::now();
        if now - self.told < self.interval() {
            return;
        }
        self.told = now;
        self.hear(world, now);
        let others = (0..self.heard.len()).filter(|&rank| rank != self.rank);
        for rank in others.clone().filter(|_| !self.hushed) {
            world.process_at_rank(rank as i32).buffered_send_with_tag(&waiting, TAG);
        }
        let silent = others.map(|rank| (now - self.heard[rank].0, rank)).max();
        if let Some((silence, rank)) = silent.filter(|(silence, _)| *silence >= self.timeout) {
            let problem =
                format!("has given no sign of life for {} s: it is stopped or out of reach", silence.as_secs());
            self.end(world, rank, &problem);
        }
    }

    fn end(&self, world: &SimpleCommunicator, rank: usize, problem: &str) {
        let host = &self.hosts[rank];
        let message = format!(
            "rank {rank} on host {host} {problem}. All ranks end; start them again, a training with --resume to go on from its \
             newest checkpoint (IGPT_MPI_TIMEOUT sets the seconds)"
        );
        end_all(world, &message);
    }
}
