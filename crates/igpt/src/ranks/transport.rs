//! Transport between ranks.

use crate::Result;

/// Transport: a rank's connection to the other ranks, made and used on one thread.
pub trait Transport {
    /// Returns this process's rank, from 0.
    fn rank(&self) -> usize;
    /// Returns the number of processes.
    fn size(&self) -> usize;
    /// Returns the name of this rank's computer.
    fn host(&self) -> String;
    /// Receives the host names of all ranks, once they are known.
    fn introduce(&mut self, _hosts: &[String]) {}
    /// Sends `out` to rank `with`, which calls this method at the same time, and receives `incoming`.
    ///
    /// The length of `incoming` is that of what the other rank sends.
    ///
    /// # Errors
    /// When the other rank is gone.
    fn exchange(&mut self, with: usize, out: &[u8], incoming: &mut [u8]) -> Result<()>;
    /// Performs background checks; called several times per second while there is nothing to exchange.
    fn poll(&mut self) {}
    /// Prepares for the end: all ranks have come to their end, one more exchange follows, and nothing else is sent.
    fn prepare_close(&mut self) {}
    /// Ends all ranks, with `message` as the reason.
    fn abort(&mut self, message: &str);
}
