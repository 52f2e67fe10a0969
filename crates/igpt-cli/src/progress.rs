//! Progress of training on standard error: a bar on a terminal, otherwise a plain line every so often.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

use igpt::data::DownloadHook;
use igpt::text::one_line;
use igpt::train::{Event, Observer, RunStarted, StepReport};
use indicatif::{ProgressBar, ProgressStyle};

use crate::download;
use crate::output::say;

/// Between plain lines.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows a run's events.
pub(crate) struct Progress {
    /// The bar, where standard error is a terminal.
    bar: Option<ProgressBar>,
    /// When the last plain line was written.
    line: Option<Instant>,
    /// The last validation, in words.
    validation: Option<String>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(ProgressBar::new_spinner);
        Self { bar, line: None, validation: None }
    }

    /// Takes the bar off the screen.
    pub(crate) fn finish(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say!("{text}")),
            None => say!("{text}"),
        }
    }

    fn started(&mut self, started: &RunStarted) {
        let network = &started.network;
        self.say(&format!(
            "{} parameters: {} blocks of width {}, {} heads, {} images, {} colours; {} training images, {} a step",
            network.parameters(),
            network.n_layer,
            network.n_embd,
            network.n_head,
            network.n_px,
            network.n_vocab,
            started.images,
            started.batch
        ));
        if started.step > 0 {
            self.say(&format!("going on after step {}", started.step));
        }
        self.line = None;
        if self.bar.is_some() {
            let bar = ProgressBar::new(started.steps.unwrap_or(0)).with_position(started.step);
            let style = ProgressStyle::with_template("{wide_bar} {pos}/{len}  {msg}");
            bar.set_style(style.expect("the template is a constant that parses"));
            self.finish();
            self.bar = Some(bar);
        }
    }

    fn step(&mut self, report: &StepReport) {
        let left = report.left_s.map_or("time left unknown yet".into(), |left| format!("{} left", clock(left)));
        let validation = self.validation.as_ref().map_or(String::new(), |text| format!(" (validation {text})"));
        let pixels = report.loss.map(|loss| format!("{loss:.4}"));
        let classes = report.class_loss.map(|loss| format!("{loss:.4} of classes"));
        let loss: Vec<String> = pixels.into_iter().chain(classes).collect();
        let text = format!("loss {}{validation}  {}  {left}", loss.join(" + "), rate(report.tokens_per_s));
        if let Some(bar) = &self.bar {
            bar.set_length(report.steps.unwrap_or(0));
            bar.set_position(report.step);
            bar.set_message(text);
        } else if self.line.is_none_or(|line| line.elapsed() >= LINE_EVERY) || report.steps == Some(report.step) {
            let steps = report.steps.map_or(String::new(), |steps| format!("/{steps}"));
            say!("step {}{steps}  {text}  lr {:.2e}", report.step, report.lr);
            self.line = Some(Instant::now());
        }
    }
}

impl Observer for Progress {
    fn download(&self) -> Option<Arc<DownloadHook>> {
        Some(download::hook())
    }

    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Phase(text) | Event::Finishing(text) => match &self.bar {
                Some(bar) => bar.set_message(one_line(text).into_owned()),
                None => say!("{text}"),
            },
            Event::Note(text) => self.say(text),
            Event::Warning(text) => self.say(&format!("warning: {text}")),
            Event::Started(started) => self.started(started),
            Event::Step(report) => self.step(report),
            Event::Validated { step, loss, bits_per_dim, accuracy, .. } => {
                let share = accuracy.map(|accuracy| format!("{:.2} %", 100.0 * accuracy));
                if self.bar.is_none() {
                    let share = share.as_ref().map_or(String::new(), |share| format!(", accuracy {share}"));
                    say!("step {step}: validation loss {loss:.4} nats/token, {bits_per_dim:.4} bits/dim{share}");
                }
                self.validation = Some(share.unwrap_or_else(|| format!("{loss:.4}")));
            }
            Event::Planned(steps) if self.bar.is_none() => say!("planned {steps} steps"),
            _ => {}
        }
    }
}

/// `12k tokens/s`.
fn rate(tokens_per_s: f64) -> String {
    if tokens_per_s < 1e4 {
        format!("{tokens_per_s:.0} tokens/s")
    } else {
        format!("{:.0}k tokens/s", tokens_per_s / 1e3)
    }
}

/// `1:02:03` or `2:03`.
fn clock(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}
