//! What the system says of this process: /proc and the limits of its control group. The one place that reads them; on a
//! system without them nothing is known.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Clock ticks of /proc in a second: USER_HZ, which Linux keeps at 100 for programs (proc(5), man 3 sysconf).
const TICKS: u64 = 100;

/// What a process has used so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Used {
    pub cpu: Duration,
    pub resident_bytes: u64,
    /// Seconds since 1970.
    pub started_at: f64,
    pub open_files: u64,
}

/// The memory of this process that the system cannot take back: a control group ends it when that is more than it may use.
pub fn held_bytes() -> Option<u64> {
    held_in(Path::new("/proc"))
}

/// How much it may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub cores: usize,
    /// Of the control group it is in, as the shell says (`ulimit -m`), or of the machine.
    pub memory_bytes: Option<u64>,
}

/// This process.
pub fn used() -> Option<Used> {
    used_in(Path::new("/proc"))
}

/// The limits of this process.
pub fn limits() -> Limits {
    Limits {
        // Knows the quotas of control groups (std::thread::available_parallelism).
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        memory_bytes: memory_limit_in(Path::new("/proc"), Path::new("/sys/fs/cgroup")),
    }
}

/// How many files and connections this process may have open (proc(5), limits: the soft one).
pub fn open_files_limit() -> Option<u64> {
    open_files_limit_in(Path::new("/proc"))
}

/// The machine's name; in a container, the container's.
pub fn host() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// The standard metrics of a process (Prometheus, "Writing client libraries", Process metrics), as they are now.
pub fn exposition() -> String {
    let mut text = String::new();
    let Some(used) = used() else { return text };
    let metrics = [
        (super::PROCESS_CPU, used.cpu.as_secs_f64()),
        (super::PROCESS_MEMORY, used.resident_bytes as f64),
        (super::PROCESS_START, used.started_at),
        (super::PROCESS_FILES, used.open_files as f64),
    ];
    for (name, value) in metrics {
        let Some(metric) = super::METRICS.iter().find(|metric| metric.name == name) else { continue };
        let kind = if metric.kind == super::Kind::Counter { "counter" } else { "gauge" };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}\n{name} {value}\n", metric.help);
    }
    text
}

fn used_in(proc: &Path) -> Option<Used> {
    let own = proc.join("self");
    let stat = std::fs::read_to_string(own.join("stat")).ok()?;
    // The name of the program stands in parentheses and may hold anything. Behind it, field 3 is the first.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let (user, system, started) = (field(14)?, field(15)?, field(22)?);
    let status = std::fs::read_to_string(own.join("status")).ok()?;
    let resident_bytes = kilobytes(&status, "VmRSS:")? * 1024;
    let machine = std::fs::read_to_string(proc.join("stat")).ok()?;
    let booted: u64 = machine.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(Used {
        cpu: Duration::from_millis((user + system) * (1000 / TICKS)),
        resident_bytes,
        started_at: booted as f64 + started as f64 / TICKS as f64,
        open_files: std::fs::read_dir(own.join("fd")).map_or(0, |files| files.count() as u64),
    })
}

/// `RssAnon` and `RssShmem` (proc(5), status; Linux 4.5): pages of the program's file can be read again.
fn held_in(proc: &Path) -> Option<u64> {
    let status = std::fs::read_to_string(proc.join("self/status")).ok()?;
    let anonymous = kilobytes(&status, "RssAnon:")?;
    Some((anonymous + kilobytes(&status, "RssShmem:").unwrap_or(0)) * 1024)
}

fn open_files_limit_in(proc: &Path) -> Option<u64> {
    soft_limit(proc, "Max open files")
}

/// A line of `limits` (proc(5)): its soft limit.
fn soft_limit(proc: &Path, name: &str) -> Option<u64> {
    let limits = std::fs::read_to_string(proc.join("self/limits")).ok()?;
    let limit = limits.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?;
    if limit == "unlimited" { Some(u64::MAX) } else { limit.parse().ok() }
}

/// `VmRSS:    1234 kB`.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// The smallest of the limits of the control group, those above it (Linux, cgroup-v2, `memory.max`; cgroup-v1,
/// `memory.limit_in_bytes`), the machine, and what whoever started it wants it to keep within (RLIMIT_RSS, `ulimit -m`).
fn memory_limit_in(proc: &Path, groups: &Path) -> Option<u64> {
    let number = |path: PathBuf| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let mut limits = Vec::new();
    let machine = std::fs::read_to_string(proc.join("meminfo")).unwrap_or_default();
    limits.extend(kilobytes(&machine, "MemTotal:").map(|kilobytes| kilobytes * 1024));
    limits.extend(soft_limit(proc, "Max resident set"));
    let own = std::fs::read_to_string(proc.join("self/cgroup")).unwrap_or_default();
    for line in own.lines() {
        // In version 1 the controllers are named: `4:memory:/a/b`.
        let (folder, name) = match line.split_once("::/") {
            Some(_) => (groups.to_path_buf(), "memory.max"),
            None if line.contains(":memory:") => (groups.join("memory"), "memory.limit_in_bytes"),
            None => continue,
        };
        let group = line.split_once(":/").map_or("", |(_, group)| group);
        for ancestor in Path::new(group).ancestors() {
            limits.extend(number(folder.join(ancestor).join(name)));
        }
    }
    // In a container the group above may be all that is seen of it.
    limits.extend(number(groups.join("memory/memory.limit_in_bytes")));
    limits.into_iter().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn a_process_as_proc_tells_it() {
        let stat = "4711 (a ) b) S 1 4711 4711 0 -1 4194560 100 0 0 0 1234 66 0 0 20 0 9 0 250000 1000 200 18446744073709551615 1";
        let proc = folder(&[
            ("self/stat", stat),
            ("self/status", "Name:\ta\nVmPeak:\t  9999 kB\nVmRSS:\t   2048 kB\n"),
            ("self/fd/0", ""),
            ("self/fd/1", ""),
            ("stat", "cpu 1 2 3\nbtime 1700000000\n"),
        ]);
        let used = used_in(proc.path()).unwrap();
        assert_eq!(used.cpu, Duration::from_secs(13));
        assert_eq!((used.resident_bytes, used.open_files), (2_097_152, 2));
        assert_eq!(used.started_at, 1_700_002_500.0);
        assert_eq!(used_in(Path::new("/nowhere")), None);
        let status = "VmRSS:\t   9999 kB\nRssAnon:\t    2 kB\nRssFile:\t  777 kB\nRssShmem:\t    1 kB\n";
        assert_eq!(held_in(folder(&[("self/status", status)]).path()), Some(3 * 1024));
    }

    #[test]
    fn the_soft_limit_of_open_files_counts() {
        let limit = |line: &str| open_files_limit_in(folder(&[("self/limits", line)]).path());
        let line = "Limit                     Soft Limit           Hard Limit           Units\nMax open files            256                  4096                 files\n";
        assert_eq!(limit(line), Some(256));
        assert_eq!(
            limit("Max open files            unlimited            unlimited            files\n"),
            Some(u64::MAX)
        );
        assert_eq!(limit("Max cpu time  1 2 seconds\n"), None);
        assert!(open_files_limit().is_some_and(|limit| limit >= 64), "Linux has /proc");
    }

    #[test]
    fn the_smallest_limit_of_memory_counts() {
        let proc = folder(&[("meminfo", "MemTotal:  8192 kB\n"), ("self/cgroup", "0::/a/b\n")]);
        let limit = |files: &[(&str, &str)]| memory_limit_in(proc.path(), folder(files).path());
        assert_eq!(limit(&[]), Some(8_388_608));
        assert_eq!(limit(&[("a/b/memory.max", "max\n"), ("memory.max", "4096\n")]), Some(4096));
        assert_eq!(limit(&[("a/b/memory.max", "1000\n"), ("a/memory.max", "500\n")]), Some(500));
        assert_eq!(limit(&[("memory/memory.limit_in_bytes", "9223372036854771712\n")]), Some(8_388_608));
        let old = folder(&[("meminfo", "MemTotal:  8192 kB\n"), ("self/cgroup", "4:memory:/a/b\n3:cpu:/a\n")]);
        let groups = folder(&[("memory/a/b/memory.limit_in_bytes", "2048\n")]);
        assert_eq!(memory_limit_in(old.path(), groups.path()), Some(2048));
        let shell = "Max resident set          1024                 4096                 bytes\n";
        let told = folder(&[("meminfo", "MemTotal:  8192 kB\n"), ("self/limits", shell)]);
        assert_eq!(memory_limit_in(told.path(), folder(&[]).path()), Some(1024));
    }

    #[test]
    fn this_process_is_known_to_linux() {
        let used = used().expect("Linux has /proc");
        assert!(used.resident_bytes > 1_000_000 && used.started_at > 1.7e9, "{used:?}");
        assert!(limits().cores > 0 && limits().memory_bytes > Some(used.resident_bytes));
        assert!(exposition().contains("\n# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total "));
    }
}
