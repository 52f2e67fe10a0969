//! A way of talking between ranks.

use crate::Result;

/// A rank's line to the others. It is made and used on one thread.
pub trait Transport {
    /// This process among all, from 0.
    fn rank(&self) -> usize;
    /// How many processes there are.
    fn size(&self) -> usize;
    /// The name of this rank's computer.
    fn host(&self) -> String;
    /// Told the names of all, when they are known.
    fn introduce(&mut self, _hosts: &[String]) {}
    /// Sends `out` to rank `with`, which calls this at the same time, and receives `incoming`, whose length is that of
    /// what the other sends.
    ///
    /// # Errors
    /// When the other is gone.
    fn exchange(&mut self, with: usize, out: &[u8], incoming: &mut [u8]) -> Result<()>;
    /// Called several times a second while there is nothing to exchange.
    fn look(&mut self) {}
    /// Told that all ranks have come to their end: one more exchange follows, and nothing else is to be sent.
    fn hush(&mut self) {}
    /// Ends all ranks, saying why.
    fn abort(&mut self, message: &str);
}
