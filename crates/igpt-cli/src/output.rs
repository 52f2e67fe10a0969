//! Where words go: human text to standard error, results to standard output, JSON as its last line.
//!
//! A reader may go at any time. Words on standard error are then lost, and nothing else; standard output without a
//! reader ends a verb quietly, and one on a full disk is an error. Control characters from names of files, classes
//! and tensors never reach a terminal.

use std::fmt::Arguments;
use std::io::{self, Write};

use igpt::report::quoted;
use igpt::text::printable;
use igpt::{Error, Result};

/// What errors of standard output are told of.
const STDOUT: &str = "standard output";

/// Writes a line of words to standard error, formatted as by `println!`.
macro_rules! say {
    ($($words:tt)*) => { $crate::output::say_line(format_args!($($words)*)) };
}

/// Writes a line of results to standard output, formatted as by `println!`; a `Result`.
macro_rules! put {
    ($($words:tt)*) => { $crate::output::put_line(format_args!($($words)*)) };
}

pub(crate) use {put, say};

/// See [`say!`].
pub(crate) fn say_line(words: Arguments<'_>) {
    // No line is worth a run.
    let _ = writeln!(io::stderr(), "{}", printable(&words.to_string()));
}

/// See [`put!`].
pub(crate) fn put_line(words: Arguments<'_>) -> Result<()> {
    put_bytes(format!("{}\n", printable(&words.to_string())).as_bytes())
}

/// Writes bytes to standard output as they are.
pub(crate) fn put_bytes(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(Error::io(STDOUT))
}

/// Whether an error says no more than that nobody reads standard output any more.
pub(crate) fn is_reader_gone(error: &Error) -> bool {
    matches!(error, Error::Io { path, source } if path.as_os_str() == STDOUT && source.kind() == io::ErrorKind::BrokenPipe)
}

/// Log lines (warnings of the library) go to standard error, without colours or times.
pub(crate) fn start_logging() {
    tracing_subscriber::fmt()
        .with_writer(|| Log)
        .with_max_level(tracing::Level::INFO)
        .with_target(false)
        .without_time()
        .with_ansi(false)
        // What would be told of these goes to standard error by a way that panics.
        .log_internal_errors(false)
        .init();
}

/// Standard error for log lines, as [`say!`] has it.
struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().write_all(printable(&String::from_utf8_lossy(bytes)).as_bytes());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Prints one JSON object as the last line of standard output. That nobody reads it is no error: nothing comes after
/// it, and how the verb ends is told by its exit code.
pub(crate) fn print_json(value: &serde_json::Value) -> Result<()> {
    // JSON escapes control characters itself, but for those from DEL on.
    let escaped = |c: char| if c >= '\u{7f}' && c.is_control() { format!("\\u{:04x}", c as u32) } else { c.into() };
    let text: String = value.to_string().chars().map(escaped).collect();
    match put_bytes((text + "\n").as_bytes()) {
        Err(error) if is_reader_gone(&error) => Ok(()),
        done => done,
    }
}

/// The command line that the program was called with, to be shown and called again.
pub(crate) fn own_command() -> String {
    let arguments = std::env::args_os().skip(1).map(|argument| quoted(&argument.to_string_lossy()));
    std::iter::once("igpt".into()).chain(arguments).collect::<Vec<_>>().join(" ")
}
