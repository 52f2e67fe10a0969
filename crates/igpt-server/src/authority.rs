//! Parsing of the host and port in a `Host` header or an origin.

/// Parses `host`, `host:port` or `[address]:port` to lower case without a trailing dot; `None` for anything else.
pub(crate) fn authority(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match text.rfind(']') {
        Some(end) => (&text[..=end], &text[end + 1..]),
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port = match port.strip_prefix(':') {
        Some("") => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
        Some(_) => return None,
        None if port.is_empty() => None,
        None => return None,
    };
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return Some((format!("[{}]", address.parse::<std::net::Ipv6Addr>().ok()?), port));
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let usual = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    (!host.is_empty() && host.len() <= 253 && host.bytes().all(usual)).then(|| (host.to_ascii_lowercase(), port))
}
