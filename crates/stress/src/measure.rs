//! Numbers: percentiles of spans, and what /proc tells of processes. Owns no load and no meaning.

use std::fs;
use std::time::Instant;

use serde::Serialize;

/// Percentiles by rank, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub max: f64,
}

impl Percentiles {
    pub fn of(ms: impl Iterator<Item = f64>) -> Percentiles {
        let mut sorted: Vec<f64> = ms.collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let at = |part: f64| {
            let rank = (part * sorted.len() as f64).ceil() as usize;
            let value = sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default();
            (value * 100.0).round() / 100.0
        };
        Percentiles { p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1.0) }
    }

    /// All of them so many times as long.
    pub fn times(self, factor: f64) -> Percentiles {
        let Percentiles { p50, p95, p99, max } = self;
        Percentiles { p50: p50 * factor, p95: p95 * factor, p99: p99 * factor, max: max * factor }
    }
}

/// What processes used over a span.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Used {
    pub seconds: f64,
    /// The bot's processor time, all instances together.
    pub bot_cpu_seconds: f64,
    /// The sandbox's, and this program's own.
    pub load_cpu_seconds: f64,
    /// Part of all processors that other programs used.
    pub others_share: f64,
    /// Resident memory of the bot at the end, and the most that it was.
    pub bot_rss_mb: f64,
    pub bot_peak_mb: f64,
}

/// What processes have used until a moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// Processor time in seconds: of every instance that there ever was, of sandbox and load, of the whole machine.
    pub bot: f64,
    pub load: f64,
    pub machine: f64,
    pub bot_rss_mb: f64,
    pub bot_peak_mb: f64,
}

/// From one reading to another.
pub struct Meter {
    began: Instant,
    at_start: Reading,
}

impl Meter {
    pub fn start(at_start: Reading) -> Meter {
        Meter { began: Instant::now(), at_start }
    }

    pub fn stop(&self, now: Reading) -> Used {
        let seconds = self.began.elapsed().as_secs_f64();
        let (bot, load) = ((now.bot - self.at_start.bot).max(0.0), (now.load - self.at_start.load).max(0.0));
        let others = (now.machine - self.at_start.machine - bot - load).max(0.0);
        Used {
            seconds,
            bot_cpu_seconds: bot,
            load_cpu_seconds: load,
            others_share: (others / (seconds * cores()).max(1e-3)).min(1.0),
            bot_rss_mb: now.bot_rss_mb,
            bot_peak_mb: now.bot_peak_mb,
        }
    }
}

/// How many processors there are.
pub fn cores() -> f64 {
    std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64)
}

/// Processor time of the whole machine, in seconds.
pub fn machine_seconds() -> f64 {
    let all = fs::read_to_string("/proc/stat").unwrap_or_default();
    // user, nice, system, irq, softirq
    ticks(all.lines().next().unwrap_or_default(), &[1, 2, 3, 6, 7])
}

/// Processor time of a process, also of one that is dead and not yet waited for.
pub fn process_seconds(id: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    // utime and stime, counted from the state, which follows the name in parentheses (proc(5)).
    ticks(text.rsplit(')').next().unwrap_or_default(), &[11, 12])
}

/// Resident memory of a process that runs, in MB.
pub fn process_mb(id: u32) -> f64 {
    mb(id, "VmRSS:")
}

/// The most that it was.
pub fn process_peak_mb(id: u32) -> f64 {
    mb(id, "VmHWM:")
}

fn ticks(text: &str, fields: &[usize]) -> f64 {
    let numbers: Vec<&str> = text.split_whitespace().collect();
    // A tick is 10 ms wherever Linux runs (USER_HZ).
    fields.iter().filter_map(|at| numbers.get(*at)?.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn mb(id: u32, field: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|line| line.trim().split(' ').next()).and_then(|kib| kib.parse::<f64>().ok());
    kib.unwrap_or(0.0) * 1024.0 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_rank() {
        let of = Percentiles::of((1..=200).rev().map(f64::from));
        assert_eq!(of, Percentiles { p50: 100.0, p95: 190.0, p99: 198.0, max: 200.0 });
        assert_eq!(Percentiles::of(std::iter::empty()), Percentiles::default());
    }

    #[test]
    fn this_process_has_memory_and_has_run() {
        let id = std::process::id();
        assert!(process_mb(id) > 1.0 && process_peak_mb(id) >= process_mb(id));
        assert!(machine_seconds() > 0.0 && process_seconds(id) <= machine_seconds());
    }

    #[test]
    fn what_was_used_before_is_not_counted() {
        let reading = |bot, load, machine| Reading { bot, load, machine, bot_rss_mb: 30.0, bot_peak_mb: 40.0 };
        let used = Meter::start(reading(5.0, 2.0, 1_000.0)).stop(reading(8.0, 3.0, 1_004.0));
        assert_eq!((used.bot_cpu_seconds, used.load_cpu_seconds, used.others_share), (3.0, 1.0, 0.0));
        assert_eq!((used.bot_rss_mb, used.bot_peak_mb), (30.0, 40.0));
    }
}
