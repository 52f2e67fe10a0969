//! Names as fields of lists and tables, which no spreadsheet takes for formulas.

use crate::text::printable;

/// Without what would end a field of a list, or be taken for more than text.
pub(super) fn plain(text: &str) -> String {
    defused(&text.replace(['\t', '\n', '\r'], " "))
}

/// With a `'` before what a spreadsheet would take for a formula, and control characters escaped.
fn defused(text: &str) -> String {
    let mark = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    format!("{mark}{}", printable(text))
}

/// A field of a CSV file (RFC 4180) that no spreadsheet takes for a formula: one that begins with `=`, `+`, `-`, `@`, a
/// tab or a carriage return gets a `'` before it. Control characters are escaped, but for tabs and line breaks.
pub fn csv_field(text: &str) -> String {
    let text = defused(text);
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}
