//! How much Telegram lets a bot say. The numbers are those of Telegram's FAQ for bots and common
//! experience; Telegram promises none of them, only that `retry_after` tells when to go on.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Allowances of all chats.
#[derive(Debug)]
pub(super) struct Limits {
    overall: Bucket,
    per_chat: f64,
    chats: HashMap<i64, Bucket>,
    groups: HashMap<i64, Bucket>,
}

impl Limits {
    /// With so many a second over all chats, and in one.
    pub fn new(per_second: f64, per_chat: f64, now: Instant) -> Self {
        let overall = Bucket::new(per_second, per_second, now);
        Self { overall, per_chat, chats: HashMap::new(), groups: HashMap::new() }
    }

    /// Counts one send or edit in `chat` (groups have negative ids): one a second with a small burst,
    /// in a group 20 a minute, and the bot's own a second in all.
    ///
    /// # Errors
    /// How long to wait; the call is not counted then.
    pub fn take(&mut self, chat: i64, now: Instant) -> Result<(), Duration> {
        let each = self.per_chat;
        let per_chat = self.chats.entry(chat).or_insert_with(|| Bucket::new(5.0, each, now));
        let mut buckets = vec![&mut self.overall, per_chat];
        if chat < 0 {
            buckets.push(self.groups.entry(chat).or_insert_with(|| Bucket::new(20.0, each * 20.0 / 60.0, now)));
        }
        let wait = buckets.iter_mut().map(|bucket| bucket.wait(now)).max().unwrap_or_default();
        if wait > Duration::ZERO {
            return Err(wait);
        }
        buckets.into_iter().for_each(|bucket| bucket.level -= 1.0);
        Ok(())
    }
}

#[derive(Debug)]
struct Bucket {
    size: f64,
    per_second: f64,
    level: f64,
    at: Instant,
}

impl Bucket {
    fn new(size: f64, per_second: f64, now: Instant) -> Self {
        Self { size, per_second, level: size, at: now }
    }

    /// Fills up to `now` and says how long it takes until one is there.
    fn wait(&mut self, now: Instant) -> Duration {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * self.per_second;
        self.level = (self.level + gained).min(self.size);
        self.at = now;
        Duration::from_secs_f64(((1.0 - self.level) / self.per_second).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_are_small_and_groups_are_slow() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut limits = Limits::new(30.0, 1.0, start);
        assert_eq!((0..6).filter(|_| limits.take(1, at(0)).is_ok()).count(), 5);
        assert_eq!(limits.take(1, at(0)), Err(Duration::from_secs(1)));
        assert_eq!(limits.take(1, at(1)), Ok(()));
        let taken = (10..70).filter(|second| limits.take(-1, at(*second)).is_ok()).count();
        assert!((38..=40).contains(&taken), "a full bucket of 20 and 20 in the minute: {taken}");
        let many = (1000..1100).filter(|chat| limits.take(*chat, at(100)).is_ok()).count();
        assert_eq!(many, 30);
        // Time that is compressed ten times: as much in a tenth of it.
        let mut limits = Limits::new(300.0, 10.0, start);
        let taken = (0..70).filter(|tenth| limits.take(-1, start + Duration::from_millis(100 * tenth)).is_ok()).count();
        assert!((41..=44).contains(&taken), "a full bucket of 20 and 20 in six seconds: {taken}");
    }
}
