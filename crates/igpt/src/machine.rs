//! What the operating system tells about this process.

/// The most memory this process has had resident, in bytes; known on Linux.
pub fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn peak_memory_is_at_least_what_was_just_filled() {
        let filled = vec![1u8; 32 << 20];
        let peak = super::peak_rss_bytes().unwrap();
        assert!(peak >= std::hint::black_box(&filled).len() as u64, "{peak}");
    }
}
