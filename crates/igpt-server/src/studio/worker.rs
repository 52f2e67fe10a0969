//! Worker: the single thread that computes. It draws images of all requests side by side in one decoder, pixel by
//! pixel.
//!
//! Between two pixels there is time for one pass of another kind (scores, features, classes), so that neither kind
//! waits for long. Each client receives its pixels through a channel, for which the worker never waits. When a client
//! leaves, its channel closes, and its rows are free before the next pixel.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use igpt::Result;
use igpt::device::Engine;
use igpt::generate::{
    GenerationProgress, GenerationRequest, GenerationSession, Infill, SamplingSettings, default_rows,
};
use igpt::model::Objective;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

/// Largest number of rows of the decoder.
const MOST_ROWS: usize = 64;

/// Interval between two messages about an image.
const PAUSE: Duration = Duration::from_millis(20);

/// Newly drawn pixels of one image of a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Drawn {
    /// Consecutive pixels in raster order; see [`igpt::generate::GenerationProgress`].
    Run { image: usize, from: usize, tokens: Vec<u16>, effective: Option<f64>, done: bool },
    /// Some pixels of a hole.
    Filled { image: usize, pixels: Vec<usize>, tokens: Vec<u16>, done: bool },
    /// Failure; nothing more follows.
    Failed(String),
}

/// Hole to be filled by a masked model.
pub(crate) struct Hole {
    pub(crate) known: Vec<Option<u16>>,
    pub(crate) image: u64,
    pub(crate) attempts: usize,
    pub(crate) rounds: usize,
    pub(crate) settings: SamplingSettings,
}

/// Other computation with the engine.
type Pass = Box<dyn FnOnce(&mut dyn Engine) + Send>;
type Listener = UnboundedSender<Drawn>;

/// Reason why a request was not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Busy {
    /// The queue is full.
    Full,
    /// The thread is gone.
    Dead,
}

/// Handle on the worker thread.
#[derive(Clone)]
pub(crate) struct Worker {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    /// Largest number of waiting images.
    most: usize,
    /// Number of rows of the decoder; 0 if the model draws nothing.
    rows: usize,
}

/// Waiting requests, and the state of the worker.
#[derive(Default)]
struct Queue {
    images: VecDeque<(GenerationRequest, usize, Listener)>,
    holes: VecDeque<(Hole, Listener)>,
    passes: VecDeque<Pass>,
    busy_rows: usize,
    pixels: u64,
    dead: bool,
}

impl Queue {
    fn len(&self) -> usize {
        self.images.len() + self.holes.len() + self.passes.len()
    }
}

/// State of the worker, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) waiting: usize,
    pub(crate) busy_rows: usize,
    pub(crate) pixels: u64,
    pub(crate) alive: bool,
}

impl Worker {
    /// Starts the thread, with `rows` rows of a decoder (0: a good number) and room for `most` waiting images.
    pub(crate) fn start(engine: Box<dyn Engine>, rows: usize, most: usize) -> Result<Self> {
        let session = match engine.config().objective {
            Objective::Autoregressive => {
                let rows = if rows == 0 { default_rows(engine.config()).min(MOST_ROWS) } else { rows };
                Some(GenerationSession::new(&*engine, rows)?)
            }
            Objective::Masked => None,
        };
        let rows = session.as_ref().map_or(0, GenerationSession::free);
        let shared = Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new(), most, rows });
        let (own, thread) = (shared.clone(), std::thread::Builder::new().name("igpt-worker".into()));
        let work = move || {
            let mut computing = Computing { engine, session, drawing: HashMap::new(), filling: Vec::new(), next: 0 };
            if catch_unwind(AssertUnwindSafe(|| computing.run(&own))).is_err() {
                let mut queue = own.lock();
                // The channels of waiting requests close with the queue.
                *queue = Queue { dead: true, ..Queue::default() };
            }
        };
        thread.spawn(work).map_err(igpt::Error::io("the worker's thread"))?;
        Ok(Self { shared })
    }

    /// Number of rows of the decoder, which is the largest number of candidates of a completion.
    pub(crate) fn rows(&self) -> usize {
        self.shared.rows
    }

    pub(crate) fn standing(&self) -> Standing {
        let queue = self.shared.lock();
        Standing { waiting: queue.len(), busy_rows: queue.busy_rows, pixels: queue.pixels, alive: !queue.dead }
    }

    /// Draws images; newly drawn pixels of each arrive through the channel, with the image's index.
    pub(crate) fn draw(&self, requests: Vec<GenerationRequest>) -> Result<UnboundedReceiver<Drawn>, Busy> {
        let (tell, heard) = unbounded_channel();
        let n = requests.len();
        let images = requests.into_iter().enumerate().map(|(i, request)| (request, i, tell.clone()));
        self.put(n, |queue| queue.images.extend(images)).map(|()| heard)
    }

    /// Fills a hole by a masked model.
    pub(crate) fn fill(&self, hole: Hole) -> Result<UnboundedReceiver<Drawn>, Busy> {
        let (tell, heard) = unbounded_channel();
        self.put(1, |queue| queue.holes.push_back((hole, tell))).map(|()| heard)
    }

    /// Runs `work` with the engine and returns its result; if the caller no longer waits, `work` is not run.
    pub(crate) async fn pass<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Engine) -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let (tell, heard) = oneshot::channel();
        let pass = move |engine: &mut dyn Engine| {
            if !tell.is_closed() {
                let _ = tell.send(work(engine));
            }
        };
        self.put(1, |queue| queue.passes.push_back(Box::new(pass)))?;
        heard.await.map_err(|_| Busy::Dead)
    }

    fn put(&self, n: usize, add: impl FnOnce(&mut Queue)) -> Result<(), Busy> {
        let mut queue = self.shared.lock();
        if queue.dead {
            return Err(Busy::Dead);
        }
        // A request larger than the queue is admitted when nothing waits.
        if queue.len() > 0 && queue.len() + n > self.shared.most {
            return Err(Busy::Full);
        }
        add(&mut queue);
        self.shared.changed.notify_one();
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// State of the worker thread.
struct Computing {
    engine: Box<dyn Engine>,
    session: Option<GenerationSession>,
    /// Receiver of each image of the session.
    drawing: HashMap<u64, Audience>,
    filling: Vec<(Infill, Listener)>,
    /// Key of the next image in the session.
    next: u64,
}

/// Receiver of an image's pixels, with those not sent yet.
struct Audience {
    /// Index of the image in its request.
    image: usize,
    listener: Listener,
    told: Option<Instant>,
    /// Position of the first pixel in `unheard`.
    from: usize,
    unheard: Vec<u16>,
}

impl Audience {
    fn new(image: usize, listener: Listener) -> Self {
        Self { image, listener, told: None, from: 0, unheard: Vec::new() }
    }

    /// Sends the first pixel at once, and later ones in groups, since waking the receiver takes time from drawing.
    fn hear(&mut self, progress: GenerationProgress<'_>) {
        let GenerationProgress { from, tokens, effective, done, .. } = progress;
        if self.unheard.is_empty() || from < self.from {
            self.from = from;
        }
        self.unheard.truncate(from - self.from);
        self.unheard.extend_from_slice(tokens);
        if done || self.told.is_none_or(|told| told.elapsed() >= PAUSE) {
            let (image, from, tokens) = (self.image, self.from, std::mem::take(&mut self.unheard));
            // A receiver that is gone is detected before the next pixel.
            let _ = self.listener.send(Drawn::Run { image, from, tokens, effective, done });
            self.told = Some(Instant::now());
        }
    }
}

impl Computing {
    /// Works until the program ends.
    fn run(&mut self, shared: &Shared) {
        loop {
            let pass = self.take_up(shared);
            if let Some(pass) = pass {
                pass(&mut *self.engine);
            }
            self.fill();
            let pixels = self.draw();
            let mut queue = shared.lock();
            queue.pixels += pixels;
            queue.busy_rows = self.session.as_ref().map_or(0, |session| shared.rows - session.free());
        }
    }

    /// Begins waiting requests that find room; if nothing is in progress, waits for a request.
    fn take_up(&mut self, shared: &Shared) -> Option<Pass> {
        let mut queue = shared.lock();
        while queue.len() == 0 && self.drawing.is_empty() && self.filling.is_empty() {
            queue = shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let mut begun = Vec::new();
        if let Some(session) = &self.session {
            let mut free = session.free();
            while let Some((request, ..)) = queue.images.front()
                && request.rows() <= free
            {
                free -= request.rows();
                begun.extend(queue.images.pop_front());
            }
        }
        let holes = std::mem::take(&mut queue.holes);
        let pass = queue.passes.pop_front();
        drop(queue);
        begun.into_iter().for_each(|(request, image, listener)| self.begin(request, image, listener));
        holes.into_iter().for_each(|(hole, listener)| self.begin_hole(hole, listener));
        pass
    }

    fn begin(&mut self, request: GenerationRequest, image: usize, listener: Listener) {
        let Some(session) = self.session.as_mut().filter(|_| !listener.is_closed()) else { return };
        match session.add(self.next, request) {
            Ok(()) => {
                self.drawing.insert(self.next, Audience::new(image, listener));
                self.next += 1;
            }
            Err(error) => drop(listener.send(Drawn::Failed(error.to_string()))),
        }
    }

    fn begin_hole(&mut self, hole: Hole, listener: Listener) {
        let Hole { known, image, attempts, rounds, settings } = hole;
        match Infill::new(&*self.engine, &known, image, attempts, rounds, &settings) {
            Ok(infill) => self.filling.push((infill, listener)),
            Err(error) => drop(listener.send(Drawn::Failed(error.to_string()))),
        }
    }

    /// Runs one round of every hole.
    fn fill(&mut self) {
        let engine = &mut *self.engine;
        self.filling.retain_mut(|(infill, listener)| match infill.round(engine) {
            Ok(filled) => {
                let done = infill.is_done();
                let told = filled.into_iter().all(|filled| {
                    let igpt::generate::FillRound { attempt: image, pixels, tokens } = filled;
                    listener.send(Drawn::Filled { image, pixels, tokens, done }).is_ok()
                });
                told && !done
            }
            Err(error) => {
                let _ = listener.send(Drawn::Failed(error.to_string()));
                false
            }
        });
    }

    /// Draws the next pixel of every image; returns the number of pixels.
    fn draw(&mut self) -> u64 {
        let Some(session) = self.session.as_mut() else { return 0 };
        let drawing = &mut self.drawing;
        drawing.retain(|id, audience| {
            let listens = !audience.listener.is_closed();
            if !listens {
                session.remove(*id);
            }
            listens
        });
        if session.is_idle() {
            return 0;
        }
        let mut pixels = 0;
        let stepped = session.step(&mut |progress| {
            pixels += 1;
            if let Some(audience) = drawing.get_mut(&progress.id) {
                audience.hear(progress);
            }
            if progress.done {
                drawing.remove(&progress.id);
            }
        });
        if let Err(error) = stepped {
            for (id, audience) in self.drawing.drain() {
                let _ = audience.listener.send(Drawn::Failed(error.to_string()));
                session.remove(id);
            }
        }
        pixels
    }
}

#[cfg(test)]
mod tests;
