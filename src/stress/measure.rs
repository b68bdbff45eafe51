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

/// Reads what processes use from /proc.
pub struct Meter {
    bots: Vec<u32>,
    load: Vec<u32>,
    began: Instant,
    at_start: (f64, f64, f64),
}

impl Meter {
    /// From now on; `sandbox` and this process make the load.
    pub fn start(bots: Vec<u32>, sandbox: u32) -> Meter {
        let load = vec![sandbox, std::process::id()];
        let at_start = Meter::read(&bots, &load);
        Meter { bots, load, began: Instant::now(), at_start }
    }

    pub fn stop(&self) -> Used {
        let (bot, load, all) = Meter::read(&self.bots, &self.load);
        // An instance that was killed takes its figures with it.
        let (bot, load) = ((bot - self.at_start.0).max(0.0), (load - self.at_start.1).max(0.0));
        let seconds = self.began.elapsed().as_secs_f64();
        let others = (all - self.at_start.2 - bot - load).max(0.0);
        let memory = |field: &str| self.bots.iter().map(|id| mb(*id, field)).sum();
        Used {
            seconds,
            bot_cpu_seconds: bot,
            load_cpu_seconds: load,
            others_share: (others / (seconds * cores()).max(1e-3)).min(1.0),
            bot_rss_mb: memory("VmRSS:"),
            bot_peak_mb: memory("VmHWM:"),
        }
    }

    fn read(bots: &[u32], load: &[u32]) -> (f64, f64, f64) {
        let sum = |ids: &[u32]| ids.iter().map(|id| process_seconds(*id)).sum::<f64>();
        let all = fs::read_to_string("/proc/stat").unwrap_or_default();
        // user, nice, system, irq, softirq
        let all = ticks(all.lines().next().unwrap_or_default(), &[1, 2, 3, 6, 7]);
        (sum(bots), sum(load), all)
    }
}

/// How many processors there are.
pub fn cores() -> f64 {
    std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64)
}

fn process_seconds(id: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    // utime and stime, counted from the state, which follows the name in parentheses (proc(5)).
    ticks(text.rsplit(')').next().unwrap_or_default(), &[11, 12])
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
        let meter = Meter::start(vec![std::process::id()], 0);
        let used = meter.stop();
        assert!(used.bot_rss_mb > 1.0 && used.bot_peak_mb >= used.bot_rss_mb, "{used:?}");
    }
}
