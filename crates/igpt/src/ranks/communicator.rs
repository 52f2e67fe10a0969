//! Communication between ranks: the jobs of a rank's own thread, as steps between pairs of ranks.
//!
//! A sum is made by recursive halving (each rank ends with the sum of its own piece) and distributed by recursive
//! doubling, neighbours first: the binary tree that [`super::collective`] promises.

use std::ops::Range;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use super::transport::Transport;
use crate::{Error, Result};

/// Interval at which a rank that waits for work of its own checks on the others.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Job of the ranks' thread, in the same order on every rank. Its buffers return with the result.
pub(super) enum Job {
    /// All-reduce: the sum over all ranks.
    Sum(Vec<f32>),
    /// Gathers the bytes of all ranks, in their order.
    Gather(Vec<u8>),
    /// All-gather: each rank has the values of its range; ranges are in the ranks' order.
    Complete(Vec<f32>, Vec<Range<usize>>),
    /// Broadcasts the bytes of rank 0.
    Broadcast(Vec<u8>),
    /// Nothing more will be asked.
    Close,
    /// All ranks are to end.
    Abort(String),
}

/// Result of a job.
pub(super) enum Done {
    Sum(Vec<f32>),
    Gathered(Vec<Vec<u8>>),
    Completed(Vec<f32>),
    Broadcast(Vec<u8>),
    Closed,
}

/// A rank's end of the communication, on the thread that owns the transport.
pub(super) struct Communicator<T> {
    transport: T,
    /// Buffer for the values of another rank.
    incoming: Vec<f32>,
}

impl<T: Transport> Communicator<T> {
    /// Introduces all ranks to each other; returns this one's rank and the hosts.
    pub(super) fn introduced(transport: T) -> Result<(Self, (usize, Vec<String>))> {
        let mut talk = Self { transport, incoming: Vec::new() };
        let size = talk.transport.size();
        if !size.is_power_of_two() {
            let (less, more) = (size.next_power_of_two() / 2, size.next_power_of_two());
            let problem = format!("{size} ranks were started, but must be a power of two: start {less} or {more}");
            return Err(Error::Invalid(problem));
        }
        let hosts = talk.gather(talk.transport.host().into_bytes())?;
        let hosts: Vec<String> = hosts.iter().map(|host| String::from_utf8_lossy(host).into_owned()).collect();
        talk.transport.introduce(&hosts);
        let rank = talk.transport.rank();
        Ok((talk, (rank, hosts)))
    }

    /// Does the jobs until the ranks part.
    pub(super) fn run(mut self, asked: &Receiver<Job>, answer: &Sender<Result<Done>>) {
        loop {
            let done = match asked.recv_timeout(LOOK_EVERY) {
                Ok(Job::Sum(values)) => self.sum(values).map(Done::Sum),
                Ok(Job::Gather(own)) => self.gather(own).map(Done::Gathered),
                Ok(Job::Complete(own, parts)) => self.complete(own, &parts).map(Done::Completed),
                Ok(Job::Broadcast(own)) => self.broadcast(own).map(Done::Broadcast),
                Ok(Job::Close) => {
                    let _ = answer.send(self.close().map(|()| Done::Closed));
                    return;
                }
                Ok(Job::Abort(message)) => return self.transport.abort(&message),
                Err(RecvTimeoutError::Timeout) => {
                    self.transport.poll();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if answer.send(done).is_err() {
                return;
            }
        }
    }

    /// Waits until all ranks are here, then until all have fallen silent.
    fn close(&mut self) -> Result<()> {
        self.gather(Vec::new())?;
        self.transport.prepare_close();
        self.gather(Vec::new()).map(drop)
    }

    /// Distances to the partners, neighbours first.
    fn distances(&self) -> Vec<usize> {
        (0..self.transport.size().ilog2()).map(|bit| 1 << bit).collect()
    }

    /// Returns the part of `len` values that a rank is left with at each distance: of each pair, the lower rank keeps
    /// the lower half of what both had. The first part is everything.
    fn parts(&self, len: usize) -> Vec<Range<usize>> {
        let mut part = 0..len;
        let mut parts = vec![part.clone()];
        for distance in self.distances() {
            let middle = part.start + part.len() / 2;
            part = if self.transport.rank() & distance == 0 { part.start..middle } else { middle..part.end };
            parts.push(part.clone());
        }
        parts
    }

    fn sum(&mut self, mut values: Vec<f32>) -> Result<Vec<f32>> {
        let rank = self.transport.rank();
        let parts = self.parts(values.len());
        let other = |whole: &Range<usize>, kept: &Range<usize>| {
            if kept.start == whole.start { kept.end..whole.end } else { whole.start..kept.start }
        };
        for (distance, pair) in self.distances().into_iter().zip(parts.windows(2)) {
            let (kept, given) = (pair[1].clone(), other(&pair[0], &pair[1]));
            self.incoming.resize(kept.len(), 0.0);
            let (out, into) = (bytemuck::cast_slice(&values[given]), bytemuck::cast_slice_mut(&mut self.incoming));
            self.transport.exchange(rank ^ distance, out, into)?;
            values[kept].iter_mut().zip(&self.incoming).for_each(|(sum, part)| *sum += *part);
        }
        for (distance, pair) in self.distances().into_iter().zip(parts.windows(2)).rev() {
            let (held, wanted) = (pair[1].clone(), other(&pair[0], &pair[1]));
            self.swap(rank ^ distance, &mut values, held, wanted)?;
        }
        Ok(values)
    }

    fn complete(&mut self, mut values: Vec<f32>, parts: &[Range<usize>]) -> Result<Vec<f32>> {
        let rank = self.transport.rank();
        // What a rank and its neighbours hold together at a distance.
        let held = |rank: usize, distance: usize| {
            let first = rank / distance * distance;
            parts[first].start..parts[first + distance - 1].end
        };
        for distance in self.distances() {
            let other = rank ^ distance;
            self.swap(other, &mut values, held(rank, distance), held(other, distance))?;
        }
        Ok(values)
    }

    /// Sends the values in `held` to rank `with` and receives those in `wanted`, which lie before or after them.
    fn swap(&mut self, with: usize, values: &mut [f32], held: Range<usize>, wanted: Range<usize>) -> Result<()> {
        let (out, into) = if wanted.end <= held.start {
            let (low, high) = values.split_at_mut(held.start);
            (&high[..held.len()], &mut low[wanted])
        } else {
            let (low, high) = values.split_at_mut(wanted.start);
            (&low[held], &mut high[..wanted.len()])
        };
        self.transport.exchange(with, bytemuck::cast_slice(out), bytemuck::cast_slice_mut(into))
    }

    /// Exchanges bytes as [`Transport::exchange`], of any lengths.
    fn exchange(&mut self, with: usize, out: &[u8]) -> Result<Vec<u8>> {
        let mut len = [0; 8];
        self.transport.exchange(with, &(out.len() as u64).to_le_bytes(), &mut len)?;
        let mut incoming = vec![0; u64::from_le_bytes(len) as usize];
        self.transport.exchange(with, out, &mut incoming)?;
        Ok(incoming)
    }

    fn gather(&mut self, own: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        let rank = self.transport.rank();
        let mut held = vec![own];
        for distance in self.distances() {
            let out = held.iter().map(|one| [&(one.len() as u64).to_le_bytes(), one.as_slice()].concat());
            let out = out.collect::<Vec<_>>().concat();
            let incoming = self.exchange(rank ^ distance, &out)?;
            let mut theirs = split(&incoming)?;
            if rank & distance == 0 {
                held.append(&mut theirs);
            } else {
                theirs.append(&mut held);
                held = theirs;
            }
        }
        Ok(held)
    }

    fn broadcast(&mut self, mut bytes: Vec<u8>) -> Result<Vec<u8>> {
        let rank = self.transport.rank();
        for distance in self.distances().into_iter().filter(|distance| rank < 2 * distance) {
            if rank < distance {
                self.exchange(rank ^ distance, &bytes)?;
            } else {
                bytes = self.exchange(rank ^ distance, &[])?;
            }
        }
        Ok(bytes)
    }
}

/// Splits a message into its parts, each of which follows its length.
fn split(mut message: &[u8]) -> Result<Vec<Vec<u8>>> {
    let mut parts = Vec::new();
    while let Some((len, rest)) = message.split_first_chunk() {
        let (part, rest) = rest.split_at_checked(u64::from_le_bytes(*len) as usize).ok_or_else(gone)?;
        parts.push(part.to_vec());
        message = rest;
    }
    Ok(parts)
}

/// Error of a rank that hears nothing from its thread any more, or of a thread that receives nonsense.
pub(super) fn gone() -> Error {
    Error::Missing("the line to the other ranks is closed: start all of them again".into())
}
