//! Metrics for Prometheus.

use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::worker::Standing;

/// Upper bounds of the time buckets, in seconds.
const SECONDS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 20.0, 60.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    route: String,
    status: u16,
}

/// Metrics of the server.
pub(crate) struct Metrics {
    registry: Registry,
    answers: Family<Answer, Counter<u64, AtomicU64>>,
    open: Gauge<i64, AtomicI64>,
    waiting: Gauge<i64, AtomicI64>,
    busy_rows: Gauge<i64, AtomicI64>,
    pixels: Gauge<i64, AtomicI64>,
    seconds: Histogram,
    first_pixel: Histogram,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let (answers, open) = (Family::default(), Gauge::default());
        let (waiting, busy_rows, pixels) = (Gauge::default(), Gauge::default(), Gauge::default());
        let (seconds, first_pixel) = (Histogram::new(SECONDS), Histogram::new(SECONDS));
        let mut registry = Registry::with_prefix("igpt");
        registry.register("requests", "Answers by route and status", answers.clone());
        registry.register("open_requests", "Requests under way", open.clone());
        registry.register("queue_length", "Images and passes waiting", waiting.clone());
        registry.register("busy_rows", "Rows of the decoder in use", busy_rows.clone());
        registry.register("pixels_drawn", "Pixels drawn so far", pixels.clone());
        registry.register("request_seconds", "From a request to the head of its answer", seconds.clone());
        registry.register("first_pixel_seconds", "From a request to its first drawn pixel", first_pixel.clone());
        Self { registry, answers, open, waiting, busy_rows, pixels, seconds, first_pixel }
    }

    /// Counts a request as open until the returned guard is dropped.
    pub(crate) fn opened(&self) -> Open {
        self.open.inc();
        Open(self.open.clone())
    }

    /// Number of open requests.
    pub(crate) fn open(&self) -> i64 {
        self.open.get()
    }

    pub(crate) fn answered(&self, route: &str, status: u16, time: Duration) {
        self.answers.get_or_create(&Answer { route: route.into(), status }).inc();
        self.seconds.observe(time.as_secs_f64());
    }

    pub(crate) fn first_pixel(&self, time: Duration) {
        self.first_pixel.observe(time.as_secs_f64());
    }

    /// Metrics in the text format, with the state of the worker.
    pub(crate) fn text(&self, standing: Standing) -> String {
        self.waiting.set(standing.waiting as i64);
        self.busy_rows.set(standing.busy_rows as i64);
        self.pixels.set(standing.pixels as i64);
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("strings take all text");
        text
    }
}

/// Guard of an open request.
#[derive(Debug)]
pub(crate) struct Open(Gauge<i64, AtomicI64>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
