//! Limits of a process: the machine's processors and memory, or less in a container or control group.

use std::path::{Path, PathBuf};

use super::size::format_bytes;
use crate::{Error, Result};

/// Processors and memory that the process may use.
///
/// A value that the system does not provide is `None`; Linux provides them.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct MachineLimits {
    /// Number of processors on which threads can run at once, after affinity and quota.
    pub cores: usize,
    /// CPU quota of the control group, in processors.
    pub cpu_quota: Option<f64>,
    /// Memory of the machine, in bytes.
    pub memory: Option<u64>,
    /// Memory of the machine that is free or can be freed, in bytes.
    pub available: Option<u64>,
    /// Memory limit of the control group, in bytes.
    pub memory_limit: Option<u64>,
    /// Memory that is left within the control group's limit, in bytes.
    pub memory_left: Option<u64>,
    /// Address space that can still be mapped under `ulimit -v`, in bytes.
    pub address_space_left: Option<u64>,
}

impl MachineLimits {
    /// Reads the present limits.
    pub fn now() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { cores, ..Self::read(Path::new("/")) }
    }

    /// Reads the limits from the files below `root`, which is `/` except in tests.
    fn read(root: &Path) -> Self {
        let text = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_default();
        let meminfo = text("proc/meminfo");
        let kib = |key: &str| {
            let line = meminfo.lines().find_map(|line| line.strip_prefix(key))?;
            Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
        };
        let groups = groups(root, &text("proc/self/cgroup"));
        let quota = groups.iter().filter_map(|group| quota(group)).reduce(f64::min);
        let memory = kib("MemTotal:");
        // Old control groups write "no limit" as a number larger than any memory.
        let is_limit = |limit: &u64| memory.is_none_or(|memory| *limit < memory);
        let limits = || groups.iter().filter_map(|group| Some((memory_limit(group).filter(is_limit)?, group)));
        Self {
            cores: 1,
            cpu_quota: quota,
            memory,
            available: kib("MemAvailable:"),
            memory_limit: limits().map(|(limit, _)| limit).min(),
            memory_left: limits().map(|(limit, group)| limit.saturating_sub(memory_used(group))).min(),
            address_space_left: address_space_left(&text("proc/self/limits"), &text("proc/self/status")),
        }
    }

    /// Returns the memory that this process can use before it fails or is killed, in bytes.
    pub fn usable(&self) -> Option<u64> {
        // Stacks of threads and remains of the heap are mapped too, though hardly used.
        let mapped = self.address_space_left.map(|left| left / 4 * 3);
        [self.available, self.memory_left, mapped].into_iter().flatten().min()
    }
}

/// Checks that the process can allocate `bytes` of memory.
///
/// `what` names what would take them. A process that takes memory that is not there is killed without a message.
///
/// # Errors
/// When less memory is left.
pub fn expect_memory(bytes: u64, what: impl FnOnce() -> String) -> Result<()> {
    // If the system provides no number, at least no size can overflow.
    let left = MachineLimits::now().usable().unwrap_or(isize::MAX as u64);
    if bytes <= left {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "{} would take {} of memory, but only {} are left: ask for less",
        what(),
        format_bytes(bytes),
        format_bytes(left)
    )))
}

/// Computes the free address space from the texts of `/proc/self/limits` and `/proc/self/status` (proc(5)).
fn address_space_left(limits: &str, status: &str) -> Option<u64> {
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    let limit: u64 = limit.split_ascii_whitespace().next()?.parse().ok()?;
    let used = status.lines().find_map(|line| line.strip_prefix("VmSize:"))?;
    let used: u64 = used.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(limit.saturating_sub(1024 * used))
}

/// Directories of the control groups that a process is in, its own and those around it.
///
/// They are those of version 2, and of version 1's controllers for processors and memory.
fn groups(root: &Path, cgroup: &str) -> Vec<PathBuf> {
    let mounted = root.join("sys/fs/cgroup");
    let mut found = Vec::new();
    for line in cgroup.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let top = match controllers.split(',').find(|name| ["cpu", "memory"].contains(name)) {
            Some(name) => mounted.join(name),
            None if controllers.is_empty() => mounted.clone(),
            None => continue,
        };
        // Within a container the path may be one of the host that does not exist; the top always exists.
        let path = top.join(path.trim_start_matches('/'));
        found.extend(path.ancestors().take_while(|path| path.starts_with(&top)).map(Path::to_path_buf));
    }
    found
}

fn quota(group: &Path) -> Option<f64> {
    let number = |name: &str| std::fs::read_to_string(group.join(name)).ok()?.trim().parse::<f64>().ok();
    let (quota, period) = match std::fs::read_to_string(group.join("cpu.max")) {
        Ok(text) => {
            let (quota, period) = text.trim().split_once(' ')?;
            (quota.parse::<f64>().ok()?, period.parse::<f64>().ok()?)
        }
        Err(_) => (number("cpu.cfs_quota_us")?, number("cpu.cfs_period_us")?),
    };
    (quota > 0.0 && period > 0.0).then_some(quota / period)
}

fn memory_limit(group: &Path) -> Option<u64> {
    let text = |name: &str| std::fs::read_to_string(group.join(name)).ok();
    text("memory.max").or_else(|| text("memory.limit_in_bytes"))?.trim().parse().ok()
}

/// Memory in use, without the file cache, which the system takes back when memory is needed.
fn memory_used(group: &Path) -> u64 {
    let number = |name: &str| std::fs::read_to_string(group.join(name)).ok()?.trim().parse().ok();
    let used: u64 = number("memory.current").or_else(|| number("memory.usage_in_bytes")).unwrap_or(0);
    let stat = std::fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let part = |key: &str| {
        let line = stat.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        line.and_then(|number| number.trim().parse::<u64>().ok())
    };
    // Old control groups report their own numbers and, as "total", those of the groups within.
    let cache = |kind: &str| part(&format!("total_{kind}")).or_else(|| part(kind)).unwrap_or(0);
    used.saturating_sub(cache("inactive_file") + cache("active_file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn the_tightest_group_around_a_process_counts() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        write(root, "proc/meminfo", "MemTotal:       8000 kB\nMemFree: 10 kB\nMemAvailable:   6000 kB\n");
        write(root, "proc/self/cgroup", "0::/jobs/mine\n");
        write(root, "sys/fs/cgroup/jobs/cpu.max", "150000 100000\n");
        write(root, "sys/fs/cgroup/jobs/mine/cpu.max", "max 100000\n");
        write(root, "sys/fs/cgroup/jobs/mine/memory.max", "max\n");
        write(root, "sys/fs/cgroup/jobs/memory.max", "2048000\n");
        let limits = MachineLimits::read(root);
        assert_eq!((limits.cpu_quota, limits.memory_limit), (Some(1.5), Some(2_048_000)));
        assert_eq!((limits.memory, limits.available), (Some(8_192_000), Some(6_144_000)));
        assert_eq!(limits.usable(), Some(2_048_000));
        write(root, "sys/fs/cgroup/jobs/memory.current", "48000\n");
        assert_eq!(MachineLimits::read(root).usable(), Some(2_000_000));
        write(root, "sys/fs/cgroup/jobs/memory.stat", "anon 8000\ninactive_file 10000\nactive_file 20000\n");
        assert_eq!(MachineLimits::read(root).usable(), Some(2_030_000), "cached files can be dropped");
    }

    #[test]
    fn old_groups_are_read_and_their_word_for_no_limit_understood() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        write(root, "proc/meminfo", "MemTotal: 8000 kB\nMemAvailable: 6000 kB\n");
        write(root, "proc/self/cgroup", "5:cpu,cpuacct:/docker/x\n4:memory:/docker/x\n3:pids:/\n");
        write(root, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n");
        write(root, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
        write(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        let limits = MachineLimits::read(root);
        assert_eq!((limits.cpu_quota, limits.memory_limit), (Some(0.5), None));
        write(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", "1000\n");
        assert_eq!(MachineLimits::read(root).usable(), Some(1000));
        write(root, "sys/fs/cgroup/memory/memory.usage_in_bytes", "900\n");
        let stat = "inactive_file 1\nactive_file 2\ntotal_inactive_file 300\ntotal_active_file 50\n";
        write(root, "sys/fs/cgroup/memory/memory.stat", stat);
        assert_eq!(MachineLimits::read(root).usable(), Some(450));
    }

    #[test]
    fn a_limited_address_space_counts_without_what_is_mapped_already() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        write(root, "proc/meminfo", "MemTotal: 8000 kB\nMemAvailable: 6000 kB\n");
        write(root, "proc/self/status", "Name:\tigpt\nVmSize:\t    1000 kB\n");
        let limits = "Max data size  unlimited  unlimited  bytes\nMax address space  4096000  unlimited  bytes\n";
        write(root, "proc/self/limits", limits);
        assert_eq!(MachineLimits::read(root).usable(), Some((4_096_000 - 1_024_000) / 4 * 3));
        write(root, "proc/self/limits", &limits.replace("4096000", "unlimited"));
        assert_eq!(MachineLimits::read(root).usable(), Some(6_144_000));
    }

    #[test]
    fn what_no_machine_has_is_refused_by_name() {
        let message = expect_memory(u64::MAX, || "drawing 9 images".into()).unwrap_err().to_string();
        assert!(message.starts_with("drawing 9 images would take"), "{message}");
        expect_memory(1, || unreachable!()).unwrap();
    }

    #[test]
    fn where_nothing_is_told_nothing_is_claimed() {
        let root = tempfile::tempdir().unwrap();
        let limits = MachineLimits::read(root.path());
        assert_eq!((limits.memory, limits.memory_limit, limits.usable()), (None, None, None));
        assert!(MachineLimits::now().cores >= 1);
    }
}
