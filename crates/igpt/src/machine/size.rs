//! Numbers of bytes as text.

/// Formats a number of bytes for people: in MB below a gigabyte, else in GB.
pub fn format_bytes(bytes: u64) -> String {
    match bytes {
        0..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_megabytes_or_gigabytes() {
        assert_eq!([0, 999_999_999, 1_234_567_890].map(format_bytes), ["0.0 MB", "1000.0 MB", "1.23 GB"]);
    }
}
