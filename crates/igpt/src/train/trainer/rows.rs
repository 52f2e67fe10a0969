//! Rows of metrics and warnings of the training loop.

use super::metrics::MetricsRow;
use super::observer::Event;
use super::steps::Loop;

impl Loop<'_> {
    pub(super) fn blank_row(&self, split: &str, loss: Option<f64>) -> MetricsRow {
        let loss = loss.unwrap_or(f64::NAN);
        let images = self.images(self.outcome.step);
        MetricsRow {
            step: self.outcome.step,
            tokens: images * self.t.engine.config().n_ctx() as u64,
            epoch: images as f64 / self.t.images as f64,
            split: split.into(),
            loss,
            bits_per_dim: bits_per_dim(loss, self.t.channels),
            elapsed_s: self.elapsed(),
            ..MetricsRow::default()
        }
    }

    pub(super) fn train_row(&mut self, found: MetricsRow, lr: f64, norm: f32, seconds_of_steps: f64) {
        let (since, awaited, from) = self.row;
        let steps = (self.outcome.step - from) as f64;
        let seconds = (seconds_of_steps - since).max(1e-9);
        let images = self.images(self.outcome.step - from);
        self.tokens_per_s = (images * self.t.engine.config().n_ctx() as u64) as f64 / seconds;
        let row = MetricsRow {
            lr: Some(lr),
            grad_norm: Some(norm as f64),
            tokens_per_s: Some(self.tokens_per_s),
            step_ms: Some(1e3 * seconds / steps),
            data_wait_ms: Some(1e3 * (self.awaited - awaited) / steps),
            device: Some(self.t.config.train.device.to_string()),
            peak_rss_mb: crate::machine::peak_rss_bytes().map(|bytes| bytes as f64 / f64::from(1 << 20)),
            ..found
        };
        self.write_row(&row);
        self.row = (seconds_of_steps, self.awaited, self.outcome.step);
    }

    pub(super) fn write_row(&mut self, row: &MetricsRow) {
        let Some((_, metrics)) = &mut self.files else { return };
        if let Err(error) = metrics.write(row) {
            self.warn(&format!("a row of metrics is lost: {error}"));
        }
    }

    pub(super) fn warn(&mut self, text: &str) {
        self.t.run.log(&format!("warning: {text}"));
        self.t.context.observer.event(Event::Warning(text));
    }
}

/// Bits per dim for a loss in nats per token.
pub(crate) fn bits_per_dim(loss: f64, channels: usize) -> f64 {
    loss / (channels as f64 * std::f64::consts::LN_2)
}
