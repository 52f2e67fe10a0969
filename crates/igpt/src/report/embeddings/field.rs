//! Names as fields of lists and tables, escaped so that no spreadsheet reads them as formulas.

use crate::text::printable;

/// Text without characters that would end a field of a list, or be read as more than text.
pub(super) fn plain(text: &str) -> String {
    defused(&text.replace(['\t', '\n', '\r'], " "))
}

/// Text with a `'` before what a spreadsheet would read as a formula, and with control characters escaped.
fn defused(text: &str) -> String {
    let mark = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    format!("{mark}{}", printable(text))
}

/// Formats a field of a CSV file (RFC 4180) so that no spreadsheet reads it as a formula.
///
/// A field that begins with `=`, `+`, `-`, `@`, a tab or a carriage return gets a `'` before it. Control characters are
/// escaped, except tabs and line breaks.
pub fn csv_field(text: &str) -> String {
    let text = defused(text);
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}
