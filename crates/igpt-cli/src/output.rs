//! Where words go: human text to standard error, results to standard output, JSON as its last line.

use igpt::report::runs::quoted;

/// Log lines (warnings of the library) go to standard error, without colours or times.
pub(crate) fn start_logging() {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing::Level::INFO)
        .with_target(false)
        .without_time()
        .with_ansi(false)
        .init();
}

/// Prints one JSON object as the last line of standard output.
pub(crate) fn print_json(value: &serde_json::Value) {
    println!("{value}");
}

/// The command line that the program was called with, to be shown and called again.
pub(crate) fn own_command() -> String {
    let arguments = std::env::args_os().skip(1).map(|argument| quoted(&argument.to_string_lossy()));
    std::iter::once("igpt".into()).chain(arguments).collect::<Vec<_>>().join(" ")
}
