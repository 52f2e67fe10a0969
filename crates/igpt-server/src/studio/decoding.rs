//! Decoding of images on a few separate threads, so that no image blocks the threads of the network.
//!
//! At most [`most_threads`] images are decoded at a time, none larger than the limit on an image's pixels, which bounds
//! memory. The number of waiting images is counted and limited. A request that is given up leaves the queue at once. A
//! file that is being decoded can't be stopped, but occupies no more than its thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout_at;

use super::worker::Busy;

/// Pool of a few threads for decoding.
pub(super) struct Decoding {
    turns: Arc<Semaphore>,
    /// Number of images of all requests that are not decoded yet.
    waiting: Arc<AtomicUsize>,
    most: usize,
}

/// Reason why an image was not decoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// The time of its request is over.
    Late,
    /// The decoder panicked.
    Panicked,
}

/// Places of a request in the queue, held until dropped.
#[derive(Debug)]
pub(super) struct Places {
    images: usize,
    waiting: Arc<AtomicUsize>,
}

/// Number of images that are decoded at a time.
fn most_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(4))
}

impl Decoding {
    /// Decoder with room for `most` waiting images.
    pub(super) fn new(most: usize) -> Self {
        Self { turns: Arc::new(Semaphore::new(most_threads())), waiting: Arc::default(), most }
    }

    /// Reserves places for the `images` of a request.
    pub(super) fn enter(&self, images: usize) -> Result<Places, Busy> {
        // A request larger than the queue is admitted when nothing waits.
        let fits = |waiting: usize| (waiting == 0 || waiting + images <= self.most).then_some(waiting + images);
        let entered = self.waiting.try_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        entered.map_err(|_| Busy::Full)?;
        Ok(Places { images, waiting: self.waiting.clone() })
    }

    /// Runs `work` on one of the threads when it is its turn, if that comes before `deadline`.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failed> {
        let turn = timeout_at(deadline.into(), self.turns.clone().acquire_owned()).await.map_err(|_| Failed::Late)?;
        let work = move || {
            let _turn = turn;
            work()
        };
        let done = timeout_at(deadline.into(), spawn_blocking(work)).await.map_err(|_| Failed::Late)?;
        done.map_err(|_| Failed::Panicked)
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.images, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(600)
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn a_long_image_holds_its_thread_and_no_more() {
        let decoding = Decoding { turns: Arc::new(Semaphore::new(1)), ..Decoding::new(9) };
        let (release, held) = channel::<()>();
        runtime().block_on(async {
            let long = decoding.run(soon(), move || held.recv().ok()).await;
            assert_eq!(long, Err(Failed::Late));
            // It still occupies the only thread, so the next one's time ends in the queue and its work never begins.
            assert_eq!(decoding.run(soon(), || panic!("begun")).await, Err::<(), _>(Failed::Late));
            release.send(()).unwrap();
            assert_eq!(decoding.run(later(), || 7).await, Ok(7));
        });
    }

    #[test]
    fn a_decoder_that_panics_gives_its_thread_back() {
        let decoding = Decoding { turns: Arc::new(Semaphore::new(1)), ..Decoding::new(9) };
        runtime().block_on(async {
            assert_eq!(decoding.run(later(), || panic!("on purpose")).await, Err::<(), _>(Failed::Panicked));
            assert_eq!(decoding.run(later(), || 7).await, Ok(7));
        });
    }

    #[test]
    fn the_line_has_an_end_and_who_leaves_makes_room() {
        let decoding = Decoding::new(4);
        let first = decoding.enter(3).unwrap();
        assert_eq!(decoding.enter(2).unwrap_err(), Busy::Full);
        let second = decoding.enter(1).unwrap();
        drop(first);
        assert!(decoding.enter(3).is_ok());
        drop(second);
        // A request alone may be larger than the queue.
        assert!(decoding.enter(99).is_ok());
    }
}
