//! End of a training run, and the visitors of its page that wait to be notified.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// Time that the trainer waits for its visitors to see the end.
const FAREWELL: Duration = Duration::from_millis(1500);
/// Interval between checks.
const GLANCE: Duration = Duration::from_millis(10);

/// Notification of visitors about the end of a training run.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    over: watch::Sender<bool>,
    visitors: Arc<AtomicUsize>,
}

/// Visitor that listens to events, until dropped.
#[derive(Debug)]
pub(super) struct Visitor {
    over: watch::Receiver<bool>,
    visitors: Arc<AtomicUsize>,
}

impl Ending {
    /// Notification for a run that is still training.
    pub(super) fn new() -> Self {
        Self { over: watch::Sender::new(false), visitors: Arc::default() }
    }

    pub(super) fn visitor(&self) -> Visitor {
        self.visitors.fetch_add(1, Ordering::Relaxed);
        Visitor { over: self.over.subscribe(), visitors: self.visitors.clone() }
    }

    /// Notifies all visitors that the run is over, and gives them a moment to receive the rest and leave.
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

    /// Waits for `time`, or until the run is over.
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
