//! The end of a training, and those who wait on its page to hear of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// How long the trainer waits for its visitors to see the end.
const FAREWELL: Duration = Duration::from_millis(1500);
/// Between two looks.
const GLANCE: Duration = Duration::from_millis(10);

/// The end of a training, as its page's visitors hear of it.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    over: watch::Sender<bool>,
    visitors: Arc<AtomicUsize>,
}

/// One who listens to the events, until dropped.
#[derive(Debug)]
pub(super) struct Visitor {
    over: watch::Receiver<bool>,
    visitors: Arc<AtomicUsize>,
}

impl Ending {
    /// Of a training that goes on.
    pub(super) fn new() -> Self {
        Self { over: watch::Sender::new(false), visitors: Arc::default() }
    }

    pub(super) fn visitor(&self) -> Visitor {
        self.visitors.fetch_add(1, Ordering::Relaxed);
        Visitor { over: self.over.subscribe(), visitors: self.visitors.clone() }
    }

    /// Tells all visitors that the training is over, and gives them a moment to take in the last of it and leave.
    pub(super) fn tell(&self) {
        self.over.send_replace(true);
        let until = Instant::now() + FAREWELL;
        while self.visitors.load(Ordering::Relaxed) > 0 && Instant::now() < until {
            std::thread::sleep(GLANCE);
        }
    }
}

impl Visitor {
    pub(super) fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// Waits for some time, or less where the training is over before.
    pub(super) async fn wait(&mut self, time: Duration) {
        let over = async {
            if self.over.wait_for(|over| *over).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let _ = tokio::time::timeout(time, over).await;
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        self.visitors.fetch_sub(1, Ordering::Relaxed);
    }
}
