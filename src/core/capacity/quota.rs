//! The coach's quota as the bot keeps it, so that a plan waits where the bot does (`upstream/openai/lane.rs` decides there,
//! `pacer.rs` refuses). Owns when a call may be made; all instances together are one here, as they share the limits.

use super::servers::micros;
use super::{Plan, tiers::Tier};

/// Requests and tokens, each a bucket that holds half a minute's worth and fills up evenly; first come, first served.
pub(super) struct Quota {
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
    /// Whoever would have to wait longer is refused at once.
    longest: i64,
    last: i64,
}

/// Times are in microseconds.
struct Bucket {
    per_micro: f64,
    most: f64,
    /// At `at`; negative by what those who wait already will take.
    level: f64,
    at: i64,
}

impl Quota {
    pub(super) fn of(plan: &Plan) -> Quota {
        let Tier { requests_a_minute, tokens_a_minute, minute_ms, .. } = plan.tier;
        let bucket = |limit: Option<f64>| limit.map(|limit| Bucket::full(limit, minute_ms));
        // The part of its longest wait beyond which the bot refuses.
        let longest = micros(plan.answers.longest_wait) / 5 * 4;
        Quota { requests: bucket(requests_a_minute), tokens: bucket(tokens_a_minute), longest, last: 0 }
    }

    /// When calls that come at `at` and are charged so much may be made; `None`: they are refused, and take nothing.
    pub(super) fn admit(&mut self, at: i64, requests: f64, tokens: f64) -> Option<i64> {
        let at = at.max(self.last);
        self.last = at;
        let mut buckets = [(&mut self.requests, requests), (&mut self.tokens, tokens)];
        let waits =
            buckets.iter().map(|(bucket, needed)| bucket.as_ref().map_or(0.0, |bucket| bucket.filled_in(*needed, at)));
        let wait = waits.fold(0.0, f64::max).round() as i64;
        if wait > self.longest {
            return None;
        }
        for (bucket, needed) in &mut buckets {
            if let Some(bucket) = bucket {
                bucket.take(*needed, at);
            }
        }
        Some(at + wait)
    }
}

impl Bucket {
    fn full(per_minute: f64, minute_ms: i64) -> Bucket {
        let per_minute = per_minute.max(1.0);
        let most = (per_minute / 2.0).max(1.0);
        Bucket { per_micro: per_minute / (minute_ms.max(1) * 1000) as f64, most, level: most, at: 0 }
    }

    fn level(&self, at: i64) -> f64 {
        (self.level + (at - self.at) as f64 * self.per_micro).min(self.most)
    }

    /// How long until so many have come in over what is there and what others wait for.
    fn filled_in(&self, needed: f64, at: i64) -> f64 {
        (needed - self.level(at)).max(0.0) / self.per_micro
    }

    fn take(&mut self, count: f64, at: i64) {
        (self.level, self.at) = (self.level(at) - count, at);
    }
}

/// The figures are those of the tests of `upstream/openai/lane.rs` and `pacer.rs`.
#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn quota(requests: f64, tokens: f64, longest_wait: u64) -> Quota {
        let tier = Tier { requests_a_minute: Some(requests), tokens_a_minute: Some(tokens), ..Tier::unlimited() };
        let mut plan = Plan { tier, ..Plan::default() };
        plan.answers.longest_wait = Duration::from_secs(longest_wait);
        Quota::of(&plan)
    }

    /// How many calls of that size may be made at once.
    fn room(quota: &mut Quota, at: i64, tokens: f64) -> usize {
        (0..10_000).take_while(|_| quota.admit(at, 1.0, tokens) == Some(at)).count()
    }

    const SECOND: i64 = 1_000_000;

    #[test]
    fn half_a_minute_is_there_at_once_and_the_rest_comes_evenly() {
        let mut requests = quota(600.0, 60_000.0, 0);
        assert_eq!(room(&mut requests, 0, 1.0), 300);
        assert_eq!(room(&mut requests, SECOND, 1.0), 10);
        let mut tokens = quota(600.0, 60_000.0, 0);
        assert_eq!(room(&mut tokens, 0, 1_000.0), 30);
        assert_eq!(room(&mut tokens, 3 * SECOND, 1_000.0), 3);
        // It does not save up more than it holds.
        assert_eq!(room(&mut tokens, 600 * SECOND, 1_000.0), 30);
    }

    #[test]
    fn first_come_first_served() {
        let mut quota = quota(600.0, 60_000.0, 120);
        assert_eq!(quota.admit(0, 1.0, 30_000.0), Some(0));
        assert_eq!(quota.admit(0, 1.0, 5_000.0), Some(5 * SECOND));
        assert_eq!(quota.admit(0, 1.0, 1.0), Some(5 * SECOND + 1_000), "a small one does not slip past");
        // More than the bucket holds comes in parts.
        assert_eq!(quota.admit(100 * SECOND, 1.0, 90_000.0), Some(160 * SECOND));
    }

    #[test]
    fn who_would_wait_for_most_of_the_longest_wait_is_refused_and_takes_nothing() {
        let mut quota = quota(60.0, 1e9, 120);
        let made: Vec<i64> = (0..200).filter_map(|_| quota.admit(0, 1.0, 1.0)).collect();
        assert_eq!((made.len(), made.last()), (30 + 96, Some(&(96 * SECOND))));
        assert_eq!(quota.admit(SECOND, 1.0, 1.0), Some(97 * SECOND), "a second later one more fits");
        assert_eq!(quota.admit(SECOND, 1.0, 1.0), None);
    }
}
