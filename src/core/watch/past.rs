//! What an instance remembers between two looks: its own counts of the last minutes, and what costs more to look up. Pure.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::core::alerts;
use crate::ids::{ChatId, PersonId};
use crate::telemetry::counts::Counts;

/// Times and rates are those of this window; processor time is that of the shorter one.
const WINDOW: Duration = Duration::from_secs(600);
const CPU_WINDOW: Duration = Duration::from_secs(60);

/// The trend of the lanes is looked up so often: the median of the latest reels, against a sample of the last week.
pub(super) const LANES_KEPT: Duration = Duration::from_secs(300);
pub(super) const LATEST: u32 = 21;
pub(super) const USUAL: Duration = Duration::from_secs(7 * 86_400);
/// Parts of the week, and reels of each.
pub(super) const SAMPLE: (u32, u32) = (28, 9);

/// Fewer reels than these tell nothing.
const FEW_LATEST: usize = 7;
const FEW_USUAL: usize = 20;

/// See the module. Spans are measured by the steady time.
#[derive(Default)]
pub struct Past {
    samples: VecDeque<Sample>,
    /// The first look.
    pub(super) began: Option<Timestamp>,
    /// The last look that reached the database.
    pub(super) reached: Option<Timestamp>,
    pub(super) outage_since: Option<Timestamp>,
    pub(super) tokens_told: f64,
    pub(super) lanes_at: Option<Timestamp>,
    pub(super) lanes: Vec<alerts::Lane>,
    pub(super) owed_to: HashMap<ChatId, PersonId>,
}

struct Sample {
    at: Timestamp,
    cpu: Option<Duration>,
    counts: Counts,
}

impl Past {
    /// Notes one look.
    pub(super) fn note(&mut self, at: Timestamp, cpu: Option<Duration>, counts: Counts) {
        self.samples.push_back(Sample { at, cpu, counts });
        // One that is older than the window stays: what came since is what came within it.
        while self.samples.get(1).is_some_and(|second| second.at <= at - WINDOW) {
            self.samples.pop_front();
        }
    }

    /// What was counted within the window.
    pub(super) fn window(&self) -> Counts {
        match (self.samples.front(), self.samples.back()) {
            // What was counted before the first look is new, too.
            (Some(_), Some(last)) if self.samples.len() == 1 => last.counts.clone(),
            (Some(first), Some(last)) => last.counts.since(&first.counts),
            _ => Counts::default(),
        }
    }

    pub(super) fn latest(&self) -> Counts {
        self.samples.back().map(|last| last.counts.clone()).unwrap_or_default()
    }

    /// Of all `cores`, within the shorter window.
    pub(super) fn cpu_percent(&self, cores: usize) -> Option<f64> {
        let last = self.samples.back()?;
        let first = self.samples.iter().rev().find(|sample| sample.at <= last.at - CPU_WINDOW)?;
        let used = last.cpu?.checked_sub(first.cpu?)?;
        Some(used.as_secs_f64() * 100.0 / last.at.since(first.at).as_secs_f64().max(0.001) / cores.max(1) as f64)
    }
}

/// The trend of one kind of lane, where enough reels tell it.
pub(super) fn lane(kind: &'static str, mut latest: Vec<Duration>, mut usual: Vec<Duration>) -> Option<alerts::Lane> {
    if latest.len() < FEW_LATEST || usual.len() < FEW_USUAL {
        return None;
    }
    Some(alerts::Lane { kind, latest: median(&mut latest)?, usual: median(&mut usual)? })
}

fn median(durations: &mut [Duration]) -> Option<Duration> {
    durations.sort_unstable();
    durations.get(durations.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(1_795_500_000_000 + seconds * 1000)
    }

    fn limits(rate_limits: f64) -> Counts {
        Counts { rate_limits, ..Counts::default() }
    }

    #[test]
    fn what_was_counted_within_ten_minutes() {
        let mut past = Past::default();
        assert_eq!(past.window().rate_limits, 0.0);
        for look in 0..200 {
            past.note(at(look * 10), None, limits(look as f64));
            let expected = if look == 0 { 0.0 } else { (look as f64).min(60.0) };
            assert_eq!(past.window().rate_limits, expected, "{look}");
        }
        assert!(past.samples.len() <= 62);
        // A look that comes late.
        past.note(at(99_000), None, limits(500.0));
        assert_eq!(past.window().rate_limits, 301.0);
    }

    #[test]
    fn processor_time_is_of_all_cores_within_a_minute() {
        let mut past = Past::default();
        for look in 0..20 {
            past.note(at(look * 10), Some(Duration::from_secs(look.unsigned_abs() * 5)), Counts::default());
        }
        assert_eq!(past.cpu_percent(1), Some(50.0));
        assert_eq!(past.cpu_percent(4), Some(12.5));
        past.note(at(200), None, Counts::default());
        assert_eq!(past.cpu_percent(1), None);
    }

    #[test]
    fn a_trend_needs_enough_reels() {
        let seconds = |count: usize, each: u64| vec![Duration::from_secs(each); count];
        assert_eq!(lane("n8n", seconds(6, 40), seconds(100, 20)), None);
        assert_eq!(lane("n8n", seconds(21, 40), seconds(19, 20)), None);
        let slow = lane("n8n", seconds(21, 40), seconds(100, 20)).unwrap();
        assert_eq!((slow.latest, slow.usual), (Duration::from_secs(40), Duration::from_secs(20)));
        assert_eq!(slow.slowness(), 2.0);
    }
}
