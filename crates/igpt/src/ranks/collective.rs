//! Collective operations of several processes with one network: all-reduce, all-gather, broadcast and others.
//!
//! The library fixes the order of every sum, not the transport. Ranks are the leaves of a binary tree in their order,
//! like the gradient groups of a batch, and neighbours are added first. Any number of ranks that is a power of two
//! thus gives the same bits as a single process. All communication goes through a thread of its own
//! (`communicator.rs`), so that it goes on while the engine computes.
//!
//! A way of communication only has to offer a [`Transport`]; igpt-mpi has one over MPI.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::communicator::{Communicator, Done, Job, gone};
use super::transport::Transport;
use crate::{Error, Result};

/// Collective of processes that work together, as seen from one rank.
///
/// A single process is [`Collective::solo`].
#[derive(Debug)]
pub struct Collective {
    rank: usize,
    size: usize,
    hosts: Vec<String>,
    line: Option<Line>,
    /// Buffers of finished sums, for reuse: fresh memory would cost more than the sum.
    spare: VecDeque<Vec<f32>>,
    /// Result of the last all-gather.
    whole: Vec<f32>,
}

/// The thread that communicates, with its channels.
#[derive(Debug)]
struct Line {
    jobs: Sender<Job>,
    done: Receiver<Result<Done>>,
    thread: Option<JoinHandle<()>>,
}

impl Collective {
    /// Returns the collective of a single process, which communicates with nobody.
    pub fn solo() -> Self {
        Self { rank: 0, size: 1, hosts: vec![String::new()], line: None, spare: VecDeque::new(), whole: Vec::new() }
    }

    /// Joins the other ranks over the transport that `open` creates, on a thread of its own.
    ///
    /// # Errors
    /// When the transport is not available, or the number of ranks is not a power of two.
    pub fn join<T: Transport>(open: impl FnOnce() -> Result<T> + Send + 'static) -> Result<Self> {
        let ((jobs, asked), (answer, done), (tell, told)) = (channel(), channel(), channel());
        let thread = std::thread::spawn(move || {
            let begun = open().and_then(Communicator::introduced);
            let (talk, place) = begun.map_or_else(|error| (None, Err(error)), |(talk, place)| (Some(talk), Ok(place)));
            if let (Ok(()), Some(talk)) = (tell.send(place), talk) {
                talk.run(&asked, &answer);
            }
        });
        let (rank, hosts) = told.recv().map_err(|_| gone())??;
        let line = Some(Line { jobs, done, thread: Some(thread) });
        Ok(Self { rank, size: hosts.len(), hosts, line, spare: VecDeque::new(), whole: Vec::new() })
    }

    /// Returns this process's rank, from 0.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Returns the number of processes (world size), a power of two.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Returns whether this is rank 0, which writes files and reports to the user.
    pub fn is_leader(&self) -> bool {
        self.rank == 0
    }

    /// Returns this rank's shard of `len` things in a row.
    ///
    /// The shards of all ranks follow each other in the ranks' order. A single thing is rank 0's.
    pub fn shard(&self, len: usize) -> Range<usize> {
        let bound = |rank: usize| (rank * len).div_ceil(self.size);
        bound(self.rank)..bound(self.rank + 1)
    }

    /// Returns the number of processes on this one's computer, itself included.
    pub fn on_this_host(&self) -> usize {
        self.hosts.iter().filter(|host| **host == self.hosts[self.rank]).count()
    }

    /// Returns the name of a rank with its host: `rank 1 on host b`.
    pub fn name(&self, rank: usize) -> String {
        let host = self.hosts.get(rank).map_or("?", String::as_str);
        format!("rank {rank} on host {host}")
    }

    /// Starts an all-reduce: the sum over all ranks of each of the values that `fill` appends.
    ///
    /// Every rank starts the same sums in the same order, and finishes them before anything else.
    ///
    /// # Errors
    /// When a rank is gone, as in all methods below, or when `fill` fails.
    pub fn all_reduce_start(&mut self, fill: impl FnOnce(&mut Vec<f32>) -> Result<()>) -> Result<()> {
        let mut values = self.spare.pop_front().unwrap_or_default();
        values.clear();
        fill(&mut values)?;
        self.ask(Job::Sum(values))
    }

    /// Finishes the oldest all-reduce and passes its sums to `take`.
    pub fn all_reduce_finish(&mut self, take: impl FnOnce(&[f32]) -> Result<()>) -> Result<()> {
        let Done::Sum(values) = self.done()? else { return Err(gone()) };
        let taken = take(&values);
        self.spare.push_back(values);
        taken
    }

    /// Gathers the values of all ranks on every rank (all-gather).
    ///
    /// This rank has `own`. The result has rank r's values in `parts[r]`; the parts follow each other.
    pub fn all_gather(&mut self, own: &[f32], parts: Vec<Range<usize>>) -> Result<&[f32]> {
        let mut whole = std::mem::take(&mut self.whole);
        whole.resize(parts.last().map_or(0, |last| last.end), 0.0);
        whole[parts[self.rank].clone()].copy_from_slice(own);
        if self.size > 1 {
            self.ask(Job::Complete(whole, parts))?;
            let Done::Completed(all) = self.done()? else { return Err(gone()) };
            whole = all;
        }
        self.whole = whole;
        Ok(&self.whole)
    }

    /// Gathers the bytes of every rank on every rank, in the ranks' order.
    pub fn gather(&mut self, own: &[u8]) -> Result<Vec<Vec<u8>>> {
        if self.size == 1 {
            return Ok(vec![own.to_vec()]);
        }
        self.ask(Job::Gather(own.to_vec()))?;
        match self.done()? {
            Done::Gathered(all) => Ok(all),
            _ => Err(gone()),
        }
    }

    /// Broadcasts rank 0's bytes; those of the other ranks are ignored.
    pub fn broadcast(&mut self, own: Vec<u8>) -> Result<Vec<u8>> {
        if self.size == 1 {
            return Ok(own);
        }
        self.ask(Job::Broadcast(own))?;
        match self.done()? {
            Done::Broadcast(bytes) => Ok(bytes),
            _ => Err(gone()),
        }
    }

    /// Returns whether `own` is true on any rank.
    pub fn any_rank(&mut self, own: bool) -> Result<bool> {
        Ok(self.gather(&[own.into()])?.iter().any(|one| one == &[1]))
    }

    /// Returns rank 0's value on every rank.
    pub fn first(&mut self, own: f64) -> Result<f64> {
        let bytes = self.broadcast(own.to_le_bytes().to_vec())?;
        bytes.try_into().map(f64::from_le_bytes).map_err(|_| gone())
    }

    /// Waits until all ranks have reached this point.
    pub fn barrier(&mut self) -> Result<()> {
        self.gather(&[]).map(drop)
    }

    /// Refuses ranks that differ from rank 0 in one of these facts, (name, value).
    ///
    /// # Errors
    /// When ranks differ; the message names the ranks and the fact.
    pub fn expect_same(&mut self, facts: &[(String, String)]) -> Result<()> {
        let own: String = facts.iter().map(|(what, value)| format!("{what}\0{value}\0")).collect();
        let all = self.gather(own.as_bytes())?;
        let all: Vec<String> = all.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect();
        let all: Vec<Vec<&str>> = all.iter().map(|text| text.split_terminator('\0').collect()).collect();
        let value = |facts: &[&str], what: &str| {
            facts.chunks_exact(2).find(|fact| fact[0] == what).map_or("nothing".to_owned(), |fact| fact[1].to_owned())
        };
        for (rank, theirs) in all.iter().enumerate().skip(1) {
            for what in all[0].iter().chain(theirs).step_by(2) {
                let (first, theirs) = (value(&all[0], what), value(theirs, what));
                if first != theirs {
                    return Err(Error::Mismatch(format!(
                        "{} has another {what} than {}: {theirs}, not {first}; start the same igpt with the same settings \
                         and data everywhere",
                        self.name(rank),
                        self.name(0)
                    )));
                }
            }
        }
        Ok(())
    }

    /// Leaves the collective when all ranks do.
    pub fn close(mut self) -> Result<()> {
        let Some(mut line) = self.line.take() else { return Ok(()) };
        line.jobs.send(Job::Close).map_err(|_| gone())?;
        let closed = line.done.recv().map_err(|_| gone())?;
        if let Some(thread) = line.thread.take() {
            let _ = thread.join();
        }
        closed.map(drop)
    }

    /// Ends all ranks because this one can't go on; over MPI it does not return.
    pub fn abort(mut self, message: &str) {
        // Messages that compare ranks name them.
        let named = message.starts_with("rank ");
        let message = if named { message.to_owned() } else { format!("{}: {message}", self.name(self.rank)) };
        self.hang_up(&message);
    }

    fn hang_up(&mut self, message: &str) {
        let Some(mut line) = self.line.take() else { return };
        let _ = line.jobs.send(Job::Abort(message.into()));
        if let Some(thread) = line.thread.take() {
            let _ = thread.join();
        }
    }

    fn ask(&mut self, job: Job) -> Result<()> {
        self.line.as_ref().ok_or_else(gone)?.jobs.send(job).map_err(|_| gone())
    }

    fn done(&mut self) -> Result<Done> {
        self.line.as_ref().ok_or_else(gone)?.done.recv().map_err(|_| gone())?
    }
}

impl Drop for Collective {
    /// Without [`Collective::close`], something has gone wrong here, and the others must not wait for this rank.
    fn drop(&mut self) {
        let message = format!("{} has ended early", self.name(self.rank));
        self.hang_up(&message);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Ranks that are threads of one process, two on each of their computers.
    struct Threads {
        rank: usize,
        to: Vec<Option<Sender<Vec<u8>>>>,
        from: Vec<Option<Receiver<Vec<u8>>>>,
    }

    impl Transport for Threads {
        fn rank(&self) -> usize {
            self.rank
        }

        fn size(&self) -> usize {
            self.to.len()
        }

        fn host(&self) -> String {
            format!("h{}", self.rank / 2)
        }

        fn exchange(&mut self, with: usize, out: &[u8], incoming: &mut [u8]) -> Result<()> {
            let (to, from) = (self.to[with].as_ref().ok_or_else(gone)?, self.from[with].as_ref().ok_or_else(gone)?);
            to.send(out.to_vec()).map_err(|_| gone())?;
            incoming.copy_from_slice(&from.recv().map_err(|_| gone())?);
            Ok(())
        }

        fn abort(&mut self, _: &str) {
            self.to.fill_with(|| None);
            self.from.fill_with(|| None);
        }
    }

    /// What each of `size` ranks makes of its end.
    pub(crate) fn on_ranks<R: Send>(size: usize, each: impl Fn(Collective) -> R + Sync) -> Vec<R> {
        let mut ends: Vec<Threads> = (0..size).map(|rank| Threads { rank, to: Vec::new(), from: Vec::new() }).collect();
        for a in 0..size {
            for b in 0..size {
                let (sender, receiver) = channel();
                ends[a].to.push(Some(sender));
                ends[b].from.push(Some(receiver));
            }
        }
        std::thread::scope(|scope| {
            let ranks: Vec<_> = ends
                .into_iter()
                .map(|end| {
                    let each = &each;
                    scope.spawn(move || each(Collective::join(move || Ok(end)).unwrap()))
                })
                .collect();
            ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
        })
    }

    fn sum(ranks: &mut Collective, values: &mut [f32]) {
        start(ranks, values);
        finish(ranks, values);
    }

    fn start(ranks: &mut Collective, values: &[f32]) {
        let fill = |sent: &mut Vec<f32>| {
            sent.extend_from_slice(values);
            Ok(())
        };
        ranks.all_reduce_start(fill).unwrap();
    }

    fn finish(ranks: &mut Collective, values: &mut [f32]) {
        let take = |sum: &[f32]| {
            values.copy_from_slice(sum);
            Ok(())
        };
        ranks.all_reduce_finish(take).unwrap();
    }

    /// The sum of groups in the order of a binary tree, neighbours first.
    fn tree(groups: &[Vec<f32>]) -> Vec<f32> {
        match groups {
            [one] => one.clone(),
            _ => {
                let (left, right) = groups.split_at(groups.len() / 2);
                tree(left).iter().zip(tree(right)).map(|(a, b)| a + b).collect()
            }
        }
    }

    fn values(group: usize, len: usize) -> Vec<f32> {
        let mut rng = crate::rng::Rng::new(group as u64, crate::rng::Purpose::Augment, 0, 0);
        (0..len).map(|_| (rng.uniform() as f32 - 0.5) * 10f32.powi(rng.below(9) as i32 - 4)).collect()
    }

    #[test]
    fn ranks_sum_to_the_bits_of_the_tree_that_one_process_makes() {
        for len in [0, 1, 3, 1000] {
            let groups: Vec<Vec<f32>> = (0..8).map(|group| values(group, len)).collect();
            let expected = tree(&groups);
            for size in [1, 2, 4, 8] {
                let sums = on_ranks(size, |mut ranks| {
                    let own = 8 / size;
                    let mut sum = tree(&groups[ranks.rank() * own..(ranks.rank() + 1) * own]);
                    if size > 1 {
                        self::sum(&mut ranks, &mut sum);
                    }
                    ranks.close().unwrap();
                    sum
                });
                let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
                assert!(sums.iter().all(|sum| bits(sum) == bits(&expected)), "{size} ranks, {len} values");
            }
        }
    }

    #[test]
    fn sums_that_are_under_way_together_come_in_their_order() {
        for sums in on_ranks(4, |mut ranks| {
            let rank = ranks.rank() as f32;
            let sums = [5, 6, 7, 6].map(|len| {
                // Twice, so that the second time is in memory of the first.
                let mut sums = [0, 1, 2].map(|i| vec![rank + i as f32; len + i]);
                sums.iter().for_each(|values| start(&mut ranks, values));
                sums.iter_mut().for_each(|values| finish(&mut ranks, values));
                sums
            });
            ranks.close().unwrap();
            sums
        }) {
            assert_eq!(sums, [5, 6, 7, 6].map(|len| [vec![6.0; len], vec![10.0; len + 1], vec![14.0; len + 2]]));
        }
    }

    #[test]
    fn parts_of_all_ranks_of_any_length_are_completed_on_each() {
        for (size, lens) in [(1, vec![3]), (2, vec![0, 5]), (4, vec![2, 0, 7, 1]), (8, vec![1, 2, 3, 0, 0, 4, 5, 9])] {
            let end = |rank: usize| lens[..rank].iter().sum::<usize>();
            let parts: Vec<_> = (0..size).map(|rank| end(rank)..end(rank + 1)).collect();
            for all in on_ranks(size, |mut ranks| {
                let own = parts[ranks.rank()].clone().map(|i| i as f32).collect::<Vec<_>>();
                let mut all = Vec::new();
                for sign in [1.0, -1.0] {
                    let own: Vec<f32> = own.iter().map(|value| sign * value).collect();
                    all.push(ranks.all_gather(&own, parts.clone()).unwrap().to_vec());
                }
                ranks.close().unwrap();
                all
            }) {
                let expected = |sign: f32| (0..end(size)).map(|i| sign * i as f32).collect::<Vec<_>>();
                assert_eq!(all, [expected(1.0), expected(-1.0)], "{size} ranks");
            }
        }
    }

    #[test]
    fn what_is_gathered_comes_in_the_order_of_the_ranks_and_rank_0_is_heard_by_all() {
        for size in [1, 2, 8] {
            let all = on_ranks(size, |mut ranks| {
                let rank = ranks.rank();
                let gathered = ranks.gather(&vec![rank as u8; rank]).unwrap();
                let heard = ranks.broadcast(vec![7 + rank as u8; 3]).unwrap();
                let any = ranks.any_rank(rank == size - 1).unwrap();
                let first = ranks.first(rank as f64 + 0.5).unwrap();
                assert_eq!((any, ranks.any_rank(false).unwrap(), first), (true, false, 0.5));
                ranks.close().unwrap();
                (gathered, heard)
            });
            let expected: Vec<Vec<u8>> = (0..size).map(|rank| vec![rank as u8; rank]).collect();
            assert!(all.iter().all(|(gathered, heard)| *gathered == expected && heard == &[7, 7, 7]), "{all:?}");
        }
    }

    #[test]
    fn ranks_know_how_many_share_their_computer() {
        let counts = on_ranks(4, |ranks| {
            let count = ranks.on_this_host();
            ranks.close().unwrap();
            count
        });
        assert_eq!((counts, Collective::solo().on_this_host()), (vec![2; 4], 1));
    }

    #[test]
    fn a_rank_that_differs_is_named_with_both_values_on_every_rank() {
        for message in on_ranks(4, |mut ranks| {
            let value = if ranks.rank() == 2 { "avx2" } else { "portable" };
            let facts = [("version", "1"), ("instruction set", value)].map(|(what, value)| (what.into(), value.into()));
            let message = ranks.expect_same(&facts).unwrap_err().to_string();
            ranks.close().unwrap();
            message
        }) {
            let wanted = "rank 2 on host h1 has another instruction set than rank 0 on host h0: avx2, not portable";
            assert!(message.contains(wanted), "{message}");
        }
    }

    #[test]
    fn when_a_rank_leaves_the_others_do_not_wait() {
        let left = on_ranks(2, |mut ranks| {
            if ranks.rank() == 1 {
                ranks.abort("out of paper");
                return true;
            }
            ranks.barrier().is_err()
        });
        assert_eq!(left, [true, true]);
    }
}
