//! The rate limits of one organisation as the real service keeps them (OpenAI, guide "Rate limits"): for each model a
//! bucket of requests and one of tokens, each holding a minute's worth and filling up evenly. A request that is refused
//! counts as one too. Pure: whoever asks says what time it is.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::refusal::Refusal;

/// What the headers say where there is no limit: more than anybody uses.
const UNLIMITED: (u64, u64) = (10_000_000, 4_000_000_000);

#[derive(Debug, Default)]
pub(super) struct Rates {
    rpm: Option<u32>,
    tpm: Option<u64>,
    /// By model.
    buckets: HashMap<String, Buckets>,
}

#[derive(Debug)]
struct Buckets {
    requests: Bucket,
    tokens: Bucket,
}

impl Rates {
    pub(super) fn new(rpm: Option<u32>, tpm: Option<u64>) -> Self {
        Self { rpm, tpm, buckets: HashMap::new() }
    }

    /// Charges a request against the limits of its model; `tokens` is the larger one of its input and the output it
    /// asks for.
    pub(super) fn admit(&mut self, now: Instant, model: &str, tokens: u64) -> Result<(), Refusal> {
        let (rpm, tpm) = (self.rpm, self.tpm);
        let buckets = self.of(now, model);
        if let Some(limit) = rpm
            && let Err((used, pause)) = buckets.requests.take(1.0, now)
        {
            return Err(Refusal::rate_limited(model, "requests", u64::from(limit), used, 1, pause));
        }
        if let Some(limit) = tpm
            && let Err((used, pause)) = buckets.tokens.take(tokens as f64, now)
        {
            return Err(Refusal::rate_limited(model, "tokens", limit, used, tokens, pause));
        }
        Ok(())
    }

    /// The `x-ratelimit-*` headers of an answer of this model.
    pub(super) fn headers(&mut self, now: Instant, model: &str) -> Vec<(String, String)> {
        let (rpm, tpm) = (self.rpm, self.tpm);
        let buckets = self.of(now, model);
        let limits = [
            ("requests", rpm.map(|_| &buckets.requests), UNLIMITED.0),
            ("tokens", tpm.map(|_| &buckets.tokens), UNLIMITED.1),
        ];
        let mut headers = Vec::new();
        for (of, bucket, unlimited) in limits {
            let (limit, remaining, reset) = match bucket {
                Some(bucket) => (bucket.capacity as u64, bucket.level.max(0.0) as u64, bucket.until(bucket.capacity)),
                None => (unlimited, unlimited, Duration::ZERO),
            };
            headers.push((format!("x-ratelimit-limit-{of}"), limit.to_string()));
            headers.push((format!("x-ratelimit-remaining-{of}"), remaining.to_string()));
            headers.push((format!("x-ratelimit-reset-{of}"), span(reset)));
        }
        headers
    }

    /// A model's buckets as they are now.
    fn of(&mut self, now: Instant, model: &str) -> &mut Buckets {
        let (rpm, tpm) = (self.rpm.unwrap_or(0), self.tpm.unwrap_or(0));
        let buckets = self.buckets.entry(model.to_owned()).or_insert_with(|| Buckets {
            requests: Bucket::full(f64::from(rpm), now),
            tokens: Bucket::full(tpm as f64, now),
        });
        buckets.requests.fill(now);
        buckets.tokens.fill(now);
        buckets
    }
}

#[derive(Debug)]
struct Bucket {
    capacity: f64,
    level: f64,
    at: Instant,
}

impl Bucket {
    fn full(capacity: f64, now: Instant) -> Self {
        Self { capacity, level: capacity, at: now }
    }

    fn fill(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.level = (self.level + since * self.capacity / 60.0).min(self.capacity);
        self.at = now;
    }

    /// Takes so much; else how much is used, and how long until it is there.
    fn take(&mut self, count: f64, _now: Instant) -> Result<(), (u64, Duration)> {
        if self.level >= count {
            self.level -= count;
            return Ok(());
        }
        let missing = ((self.capacity - self.level.max(0.0)) as u64, self.until(count));
        // Sending on and on does not help.
        self.level = (self.level - 1.0).max(0.0);
        Err(missing)
    }

    fn until(&self, level: f64) -> Duration {
        let missing = (level - self.level).max(0.0);
        Duration::try_from_secs_f64(missing * 60.0 / self.capacity.max(1.0)).unwrap_or(Duration::from_secs(60))
    }
}

/// A span as OpenAI writes it in headers.
fn span(span: Duration) -> String {
    let ms = span.as_millis();
    match (ms / 60_000, ms % 60_000) {
        (0, ms) if ms < 1_000 => format!("{ms}ms"),
        (0, ms) => format!("{}s", ms.div_ceil(1_000)),
        (minutes, ms) => format!("{minutes}m{}s", ms / 1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_bucket_fills_up_evenly_and_each_model_has_its_own() {
        let (mut rates, mut now) = (Rates::new(Some(2), None), Instant::now());
        assert!(rates.admit(now, "m", 5).is_ok());
        now += seconds(10);
        assert!(rates.admit(now, "m", 5).is_ok());
        let refusal = rates.admit(now, "m", 5).expect_err("a third is there");
        assert_eq!((refusal.status, refusal.retry_after.map(|pause| pause.as_secs())), (429, Some(20)));
        assert!(rates.admit(now, "other", 5).is_ok());
        // The refused one counted too.
        now += seconds(20);
        assert!(rates.admit(now, "m", 5).is_err());
        now += seconds(40);
        assert!(rates.admit(now, "m", 5).is_ok());
    }

    #[test]
    fn tokens_and_what_the_headers_say() {
        let (mut rates, mut now) = (Rates::new(Some(60), Some(600)), Instant::now());
        assert!(rates.admit(now, "m", 360).is_ok());
        let refusal = rates.admit(now, "m", 360).expect_err("240 are left");
        assert_eq!(refusal.retry_after, Some(seconds(12)));
        now += seconds(13);
        assert!(rates.admit(now, "m", 360).is_ok());
        let headers: HashMap<String, String> = rates.headers(now, "m").into_iter().collect();
        let header = |name: &str| headers[&format!("x-ratelimit-{name}")].as_str();
        assert_eq!((header("limit-requests"), header("remaining-requests")), ("60", "59"));
        assert_eq!((header("limit-tokens"), header("remaining-tokens")), ("600", "9"));
        assert_eq!((header("reset-requests"), header("reset-tokens")), ("1s", "60s"));
    }

    #[test]
    fn spans_as_in_the_headers() {
        for (ms, want) in [(0, "0ms"), (120, "120ms"), (1_000, "1s"), (59_001, "60s"), (360_000, "6m0s")] {
            assert_eq!(span(Duration::from_millis(ms)), want);
        }
    }
}
