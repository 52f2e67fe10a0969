//! Memory and processor time of this process, and the name of its host.

/// Returns the peak resident memory of this process, in bytes; known on Linux.
pub fn peak_rss_bytes() -> Option<u64> {
    status_bytes("VmHWM:")
}

/// Returns the resident memory of this process, in bytes; known on Linux.
pub fn rss_bytes() -> Option<u64> {
    status_bytes("VmRSS:")
}

fn status_bytes(key: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Returns the host name of this machine; known on Linux.
pub fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// Snapshot of processor time; the difference of two shows the load by other processes.
#[derive(Clone, Copy, Debug)]
pub struct CpuTime {
    /// Ticks of the whole machine: all, idle, and those of this process.
    all: u64,
    idle: u64,
    own: u64,
}

impl CpuTime {
    /// Takes a snapshot of the present counts; known on Linux.
    pub fn now() -> Option<Self> {
        let own = std::fs::read_to_string("/proc/self/stat").ok()?;
        Self::parse(&std::fs::read_to_string("/proc/stat").ok()?, &own)
    }

    /// Parses the texts of `/proc/stat` and `/proc/self/stat` (proc(5)).
    fn parse(machine: &str, own: &str) -> Option<Self> {
        let line = machine.lines().next()?.strip_prefix("cpu ")?;
        // user, nice, system, idle, iowait, irq, softirq, steal; the guests' times are part of user and nice.
        let ticks: Vec<u64> = line.split_ascii_whitespace().take(8).filter_map(|n| n.parse().ok()).collect();
        // The name in parentheses may hold spaces; utime and stime are fields 14 and 15.
        let own: Vec<&str> = own.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let own = own.get(11)?.parse::<u64>().ok()? + own.get(12)?.parse::<u64>().ok()?;
        Some(Self { all: ticks.iter().sum(), idle: ticks.get(3)? + ticks.get(4)?, own })
    }

    /// Returns the share of the machine that other processes used since `earlier`, from 0 to 1.
    pub fn others_since(&self, earlier: &Self) -> f64 {
        let all = self.all.saturating_sub(earlier.all).max(1);
        let idle = self.idle.saturating_sub(earlier.idle);
        let own = self.own.saturating_sub(earlier.own);
        all.saturating_sub(idle + own) as f64 / all as f64
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn peak_memory_is_at_least_what_was_just_filled() {
        let filled = vec![1u8; 32 << 20];
        let peak = peak_rss_bytes().unwrap();
        assert!(peak >= std::hint::black_box(&filled).len() as u64, "{peak}");
    }

    #[test]
    fn what_others_use_is_all_that_is_neither_idle_nor_ours() {
        let at = |all: [u64; 8], own: u64| {
            let all = all.map(|n| n.to_string()).join(" ");
            let own = format!("7 (a name) R 1 1 1 0 -1 0 0 0 0 0 {own} 0 0 0 20 0");
            CpuTime::parse(&format!("cpu  {all} 0 0\ncpu0 1"), &own).unwrap()
        };
        let (start, end) = (at([0; 8], 10), at([70, 0, 10, 15, 5, 0, 0, 0], 60));
        assert_eq!(end.others_since(&start), 0.3);
        assert!(CpuTime::now().is_some());
    }
}
