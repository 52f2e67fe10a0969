//! Progress of downloads on standard error: a bar on a terminal, otherwise a plain line every so often.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::output::say;
use igpt::data::{DownloadHook, DownloadProgress};
use indicatif::{BinaryBytes, ProgressBar, ProgressStyle};

/// Between plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// The file that comes at present.
struct Current {
    file: &'static str,
    bar: Option<ProgressBar>,
    /// When the last plain line was written.
    line: Option<Instant>,
}

impl Current {
    fn new(progress: &DownloadProgress) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let template = "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  {eta} left";
            let style = ProgressStyle::with_template(template).expect("the template is a constant that parses");
            ProgressBar::new(progress.total).with_style(style).with_message(progress.file)
        });
        Self { file: progress.file, bar, line: None }
    }

    fn show(&mut self, progress: &DownloadProgress) {
        let done = progress.received == progress.total;
        if let Some(bar) = &self.bar {
            bar.set_position(progress.received);
            if done {
                bar.finish_and_clear();
            }
        } else if done || self.line.is_none_or(|line| line.elapsed() >= LINE_EVERY) {
            say!("{}", line(progress));
            self.line = Some(Instant::now());
        }
    }
}

fn line(DownloadProgress { file, received, total }: &DownloadProgress) -> String {
    format!("downloading {file}: {} of {}", BinaryBytes(*received), BinaryBytes(*total))
}

/// Shows each file that is downloaded.
pub(crate) fn hook() -> Arc<DownloadHook> {
    let current: Mutex<Option<Current>> = Mutex::new(None);
    Arc::new(move |progress| {
        let mut current = current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_none_or(|current| current.file != progress.file) {
            *current = Some(Current::new(progress));
        }
        current.iter_mut().for_each(|current| current.show(progress));
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_line_names_the_file_and_how_far_it_is() {
        let progress = DownloadProgress { file: "cifar-10-binary.tar.gz", received: 3 << 20, total: 162 << 20 };
        assert_eq!(line(&progress), "downloading cifar-10-binary.tar.gz: 3.00 MiB of 162.00 MiB");
    }
}
