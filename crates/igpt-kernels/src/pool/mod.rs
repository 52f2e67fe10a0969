//! Thread pool that hands out disjoint parts of a job one by one.
//!
//! Work is cut by the shape of the problem, and the parts are handed out dynamically in index order. The number of
//! threads, and the load of the machine, therefore decide only when a part runs, never what it computes. A job never
//! waits for a thread that has not started: once the others have finished it, it is closed before a sleeping worker
//! joins it. Waiting is a few microseconds of spinning, then yielding, then sleeping, because long spinning collapses
//! when the machine is shared.

mod parts;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;

pub use parts::{All, Chunks, Either, Grid, Heads, Parts, Then, all, chunks, columns, grid, heads, rows, then};

/// Number of `spin_loop` turns before a waiting thread yields: about 2 to 5 µs.
const SPINS: usize = 128;
/// Number of `yield_now` turns before a waiting thread sleeps: about 100 µs.
///
/// This is longer than the single-threaded phases of a decoding step. Other users of the processor get it at each turn.
const YIELDS: usize = 200;

/// `Shared::state` is a job's generation, whether it still takes workers, and how many are inside.
const OPEN: u64 = 1 << 16;
const INSIDE: u64 = OPEN - 1;
const GENERATION: u64 = OPEN << 1;

thread_local! {
    /// Whether this thread is running a part of some pool's job.
    static IN_JOB: Cell<bool> = const { Cell::new(false) };
}

/// Thread pool: the caller and `threads - 1` workers that live as long as the pool.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Lock for one job at a time; a second caller waits here.
    callers: Mutex<()>,
}

/// A job as the workers see it: called with the worker's number, it takes parts until none is left.
type Job = *const (dyn Fn(usize) + Sync);

struct Shared {
    state: AtomicU64,
    /// Written by the caller while the state is closed with no worker inside; read only by workers that got inside.
    job: UnsafeCell<Option<Job>>,
    stop: AtomicBool,
    sleeping_workers: AtomicUsize,
    sleeping_caller: AtomicBool,
    lock: Mutex<()>,
    work: Condvar,
    done: Condvar,
}

// SAFETY: `job` is the only field that is not Sync by itself; the protocol at its declaration keeps its one
// writer apart from its readers, and what it points to is Sync and outlives the job (see `Pool::share`).
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer is never used after its job, whichever thread holds it.
unsafe impl Send for Shared {}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Pool {
    /// Starts a pool of `threads` threads, including the caller; 0 counts as 1.
    ///
    /// If the system refuses to start that many, the pool has fewer (see [`Pool::threads`]).
    pub fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            job: UnsafeCell::new(None),
            stop: AtomicBool::new(false),
            sleeping_workers: AtomicUsize::new(0),
            sleeping_caller: AtomicBool::new(false),
            lock: Mutex::new(()),
            work: Condvar::new(),
            done: Condvar::new(),
        });
        let workers = (1..threads.clamp(1, INSIDE as usize))
            .map_while(|worker| {
                let shared = Arc::clone(&shared);
                let builder = std::thread::Builder::new().name(format!("igpt-{worker}"));
                builder.spawn(move || shared.serve(worker)).ok()
            })
            .collect();
        Self { shared, workers, callers: Mutex::new(()) }
    }

    /// Number of threads to start if `asked` are requested; 0 requests one per core.
    ///
    /// The number is limited, since several threads on one core only alternate, and each has buffers of its own.
    /// Results don't depend on it.
    pub fn thread_count(asked: usize) -> usize {
        const FEW: usize = 32;
        const EACH_CORE: usize = 4;
        let cores = Self::available();
        if asked == 0 { cores } else { asked.min((EACH_CORE * cores).max(FEW)) }
    }

    /// Number of threads that the system offers this process.
    pub fn available() -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }

    /// Number of threads that work on a job, including the caller.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `f(index, part, scratch of this thread)` once for every part, and returns when all are done.
    ///
    /// Parts are handed out in index order. A panic in `f` stops this and, once every thread has left the job, resumes
    /// in the caller; the pool remains usable. Called from inside a part of any pool's job, it runs on the calling
    /// thread alone. Panics if `scratch` is shorter than [`Pool::threads`].
    pub fn each<P: Parts, W: Send>(&self, parts: P, scratch: &mut [W], f: impl Fn(usize, P::Part, &mut W) + Sync) {
        self.deal(parts, 1, scratch, f);
    }

    /// Like [`Pool::each`] for parts that are adjacent in memory and only read: each thread has a range of its own.
    ///
    /// A thread thus reads one stream, and helps with the other ranges after its own.
    pub fn stream<P: Parts, W: Send>(&self, parts: P, scratch: &mut [W], f: impl Fn(usize, P::Part, &mut W) + Sync) {
        self.deal(parts, self.threads(), scratch, f);
    }

    /// Hands out the parts from `runs` ranges.
    fn deal<P: Parts, W: Send>(
        &self,
        parts: P,
        runs: usize,
        scratch: &mut [W],
        f: impl Fn(usize, P::Part, &mut W) + Sync,
    ) {
        assert!(scratch.len() >= self.threads(), "{} scratches for {} threads", scratch.len(), self.threads());
        let count = parts.len();
        if count <= 1 || self.workers.is_empty() || IN_JOB.get() {
            for index in 0..count {
                // SAFETY: each index below the length is taken once.
                f(index, unsafe { parts.part(index) }, &mut scratch[0]);
            }
            return;
        }
        let dealer = Dealer::new(count, runs);
        let panicked: Mutex<Option<Box<dyn Any + Send>>> = Mutex::new(None);
        let scratch = SharedMut(scratch.as_mut_ptr());
        self.share(count - 1, &|worker| {
            // SAFETY: `worker` is below `threads()`, hence inside the slice, and no two threads of a job have the
            // same number.
            let scratch = unsafe { &mut *scratch.get().add(worker) };
            let work = || {
                dealer.hand_out(worker, |index| {
                    // SAFETY: the dealer gives each index below the length once.
                    f(index, unsafe { parts.part(index) }, scratch);
                });
            };
            if let Err(payload) = catch_unwind(AssertUnwindSafe(work)) {
                dealer.stop();
                lock(&panicked).get_or_insert(payload);
            }
        });
        if let Some(payload) = lock(&panicked).take() {
            resume_unwind(payload);
        }
    }

    /// Like [`Pool::each`], without scratch memory.
    pub fn for_each<P: Parts>(&self, parts: P, f: impl Fn(usize, P::Part) + Sync) {
        self.each(parts, &mut vec![(); self.threads()], |index, part, ()| f(index, part));
    }

    /// Calls `f` once for every index below `n`; otherwise like [`Pool::each`].
    pub fn run(&self, n: usize, f: impl Fn(usize) + Sync) {
        self.each(0..n, &mut vec![(); self.threads()], |index, _, ()| f(index));
    }

    /// Runs `job`, which must not panic, on the calling thread and on the workers that arrive in time; at most
    /// `helpers` of them are useful.
    fn share(&self, helpers: usize, job: &(dyn Fn(usize) + Sync)) {
        let _one_job = lock(&self.callers);
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes. Workers call the job only while they are inside, and this function
        // leaves only when the job is closed and nobody is inside.
        let job_for_all = unsafe { std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), Job>(job) };
        // SAFETY: the lock makes this the only caller, and the last job was left closed and empty.
        unsafe { *shared.job.get() = Some(job_for_all) };
        let generation = (shared.state.load(SeqCst) & !(GENERATION - 1)).wrapping_add(GENERATION);
        shared.state.store(generation | OPEN, SeqCst);
        if shared.sleeping_workers.load(SeqCst) > 0 {
            let _guard = lock(&shared.lock);
            for _ in 0..helpers.min(self.workers.len()) {
                shared.work.notify_one();
            }
        }
        IN_JOB.set(true);
        job(0);
        IN_JOB.set(false);
        shared.state.fetch_and(!OPEN, SeqCst);
        shared.wait_until_empty();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        {
            let _guard = lock(&self.shared.lock);
            self.shared.work.notify_all();
        }
        for worker in self.workers.drain(..) {
            // A worker catches its job's panics, so its result has no information.
            let _ = worker.join();
        }
    }
}

impl Shared {
    /// A worker's loop: wait for a new job, join it, leave it.
    fn serve(&self, worker: usize) {
        IN_JOB.set(true);
        let mut seen = 0;
        while let Some(generation) = self.join_job(seen) {
            seen = generation;
            // SAFETY: being inside keeps the caller from leaving `share`, so the job is written, not being
            // written, and alive.
            unsafe {
                if let Some(job) = *self.job.get() {
                    (*job)(worker);
                }
            }
            let before = self.state.fetch_sub(1, SeqCst);
            if before & (OPEN | INSIDE) == 1 && self.sleeping_caller.load(SeqCst) {
                let _guard = lock(&self.lock);
                self.done.notify_one();
            }
        }
    }

    /// Enters the first open job whose generation is not `seen`; `None` when the pool is being dropped.
    fn join_job(&self, seen: u64) -> Option<u64> {
        let mut turns = 0;
        loop {
            if self.stop.load(SeqCst) {
                return None;
            }
            let state = self.state.load(SeqCst);
            if fresh(state, seen) {
                if self.state.compare_exchange(state, state + 1, SeqCst, SeqCst).is_ok() {
                    return Some(state & !(GENERATION - 1));
                }
                continue;
            }
            if pause(&mut turns) {
                continue;
            }
            let mut guard = lock(&self.lock);
            // Announced before the last look: the caller publishes before it looks for sleepers.
            self.sleeping_workers.fetch_add(1, SeqCst);
            while !self.stop.load(SeqCst) && !fresh(self.state.load(SeqCst), seen) {
                guard = self.work.wait(guard).unwrap_or_else(std::sync::PoisonError::into_inner);
            }
            self.sleeping_workers.fetch_sub(1, SeqCst);
            turns = 0;
        }
    }

    /// Returns when no worker is inside the closed job.
    fn wait_until_empty(&self) {
        let mut turns = 0;
        while self.state.load(SeqCst) & INSIDE != 0 {
            if pause(&mut turns) {
                continue;
            }
            let mut guard = lock(&self.lock);
            self.sleeping_caller.store(true, SeqCst);
            while self.state.load(SeqCst) & INSIDE != 0 {
                guard = self.done.wait(guard).unwrap_or_else(std::sync::PoisonError::into_inner);
            }
            self.sleeping_caller.store(false, SeqCst);
        }
    }
}

/// Hands out each index below `count` to one thread, in order within each range.
struct Dealer {
    count: usize,
    /// Next index of each range.
    next: Vec<AtomicUsize>,
}

impl Dealer {
    fn new(count: usize, runs: usize) -> Self {
        Self { count, next: (0..runs).map(|run| AtomicUsize::new(count * run / runs)).collect() }
    }

    /// Calls `f` with the remaining indices, the worker's own range first.
    fn hand_out(&self, worker: usize, mut f: impl FnMut(usize)) {
        let runs = self.next.len();
        for run in (0..runs).map(|i| (worker + i) % runs) {
            let end = self.count * (run + 1) / runs;
            loop {
                let index = self.next[run].fetch_add(1, SeqCst);
                if index >= end {
                    break;
                }
                f(index);
            }
        }
    }

    /// Stops handing out indices.
    fn stop(&self) {
        self.next.iter().for_each(|next| next.store(self.count, SeqCst));
    }
}

/// Whether the state is that of an open job of another generation than `seen`.
fn fresh(state: u64, seen: u64) -> bool {
    state & OPEN != 0 && state & !(GENERATION - 1) != seen
}

/// Spends one turn of waiting awake; false when it is time to sleep.
fn pause(turns: &mut usize) -> bool {
    *turns += 1;
    match *turns {
        0..=SPINS => std::hint::spin_loop(),
        _ if *turns <= SPINS + YIELDS => std::thread::yield_now(),
        _ => return false,
    }
    true
}

/// Locks, ignoring poison: these locks guard nothing that a panic could leave half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Pointer that several threads may hold because each uses other elements.
struct SharedMut<W>(*mut W);

impl<W> SharedMut<W> {
    /// Method access, so that closures capture the whole wrapper and not its field.
    fn get(&self) -> *mut W {
        self.0
    }
}

// SAFETY: the elements are Send, and `Pool::each` gives each of them to one thread at a time.
unsafe impl<W: Send> Sync for SharedMut<W> {}
