//! Counts: tokens, the prompt cache, and the rate limits of one organisation. Pure: whoever asks
//! says what time it is.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::catalogue;
use super::check::Prompted;
use super::refusal::Refusal;

/// What one call used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// All of the input, cached and written to the cache included.
    pub input: u64,
    pub cached: u64,
    pub cache_write: u64,
    /// All of the output, reasoning included.
    pub output: u64,
    pub reasoning: u64,
}

/// Four characters a token, and the same text always the same count.
pub(super) fn count(text: &str) -> u64 {
    tokens(text.chars().count())
}

fn tokens(chars: usize) -> u64 {
    u64::try_from(chars.div_ceil(4)).unwrap_or(u64::MAX)
}

/// A prefix shorter than this many tokens is not cached (OpenAI, "Prompt caching").
const SHORTEST_PREFIX: u64 = 1024;
/// Cached tokens come in steps of so many.
const STEP: u64 = 128;
const CACHE_LIFE: Duration = Duration::from_secs(30 * 60);
/// As many prompts are kept for one key, and in all; the real cache forgets too.
const KEPT_PER_KEY: usize = 8;
const KEPT: usize = 1024;
const MINUTE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Meter {
    rpm: Option<u32>,
    tpm: Option<u64>,
    /// When a request came, and the tokens it was charged against the limit.
    recent: VecDeque<(Instant, u64)>,
    cache: VecDeque<Cached>,
}

#[derive(Debug)]
struct Cached {
    key: String,
    model: String,
    prompt: String,
    used: Instant,
}

impl Meter {
    pub(super) fn new(rpm: Option<u32>, tpm: Option<u64>) -> Self {
        Self { rpm, tpm, ..Self::default() }
    }

    /// Charges a request against the limits; `tokens` is its input and the output it asks for.
    pub(super) fn admit(&mut self, now: Instant, model: &str, tokens: u64) -> Result<(), Refusal> {
        self.forget(now);
        let (requests, spent) = self.spent();
        let until = |at: Instant| (at + MINUTE).saturating_duration_since(now);
        if let Some(limit) = self.rpm.filter(|limit| requests >= u64::from(*limit)) {
            let pause = self.recent.front().map_or(MINUTE, |(at, _)| until(*at));
            return Err(Refusal::rate_limited(model, "requests", u64::from(limit), requests, 1, pause));
        }
        if let Some(limit) = self.tpm.filter(|limit| spent.saturating_add(tokens) > *limit) {
            let mut free = limit.saturating_sub(spent);
            let enough = self.recent.iter().find(|(_, tokens_then)| {
                free += tokens_then;
                free >= tokens
            });
            let pause = enough.map_or(MINUTE, |(at, _)| until(*at));
            return Err(Refusal::rate_limited(model, "tokens", limit, spent, tokens, pause));
        }
        self.recent.push_back((now, tokens));
        Ok(())
    }

    /// The `x-ratelimit-*` headers as they stand.
    pub(super) fn headers(&mut self, now: Instant) -> Vec<(String, String)> {
        self.forget(now);
        let (requests, spent) = self.spent();
        let reset = self.recent.back().map_or(Duration::ZERO, |(at, _)| (*at + MINUTE).saturating_duration_since(now));
        let limits = [
            ("requests", self.rpm.map_or(5_000, u64::from), requests),
            ("tokens", self.tpm.unwrap_or(4_000_000), spent),
        ];
        let mut headers = Vec::new();
        for (of, limit, used) in limits {
            headers.push((format!("x-ratelimit-limit-{of}"), limit.to_string()));
            headers.push((format!("x-ratelimit-remaining-{of}"), limit.saturating_sub(used).to_string()));
            headers.push((format!("x-ratelimit-reset-{of}"), span(reset)));
        }
        headers
    }

    /// The input side of a request's usage. Remembers its prompt for the next one.
    pub(super) fn input(&mut self, now: Instant, request: &Prompted) -> Tokens {
        self.cache.retain(|entry| now.saturating_duration_since(entry.used) < CACHE_LIFE);
        let input = count(&request.prompt);
        let mut usage = Tokens { input, ..Tokens::default() };
        if input < SHORTEST_PREFIX {
            return usage;
        }
        let mut best = 0;
        let mut same_key = 0;
        for entry in &mut self.cache {
            if entry.key == request.cache_key && entry.model == request.model {
                same_key += 1;
                let shared = shared_tokens(&entry.prompt, &request.prompt);
                if shared >= SHORTEST_PREFIX {
                    entry.used = now;
                    best = best.max(shared);
                }
            }
        }
        usage.cached = best / STEP * STEP;
        if catalogue::traits(&request.model).writes_cache {
            usage.cache_write = (input / STEP * STEP).saturating_sub(usage.cached);
        }
        if same_key >= KEPT_PER_KEY
            && let Some(at) = self.cache.iter().position(|e| e.key == request.cache_key && e.model == request.model)
        {
            self.cache.remove(at);
        }
        if self.cache.len() >= KEPT {
            self.cache.pop_front();
        }
        self.cache.push_back(Cached {
            key: request.cache_key.clone(),
            model: request.model.clone(),
            prompt: request.prompt.clone(),
            used: now,
        });
        usage
    }

    fn forget(&mut self, now: Instant) {
        while self.recent.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) >= MINUTE) {
            self.recent.pop_front();
        }
    }

    /// Requests and tokens of the last minute.
    fn spent(&self) -> (u64, u64) {
        let requests = u64::try_from(self.recent.len()).unwrap_or(u64::MAX);
        (requests, self.recent.iter().map(|(_, tokens)| *tokens).fold(0, u64::saturating_add))
    }
}

fn shared_tokens(a: &str, b: &str) -> u64 {
    let chars = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    u64::try_from(chars / 4).unwrap_or(u64::MAX)
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

    fn prompted(model: &str, key: &str, prompt: &str) -> Prompted {
        Prompted { model: model.into(), cache_key: key.into(), prompt: prompt.into(), ..Prompted::default() }
    }

    #[test]
    fn the_cache_needs_the_same_key_model_and_prefix_within_half_an_hour() {
        let (mut meter, mut now) = (Meter::default(), Instant::now());
        let long = "abcd".repeat(2_000);
        let longer = format!("{long}{}", "x".repeat(800));
        let first = meter.input(now, &prompted("gpt-6-luna", "k", &long));
        assert_eq!(first, Tokens { input: 2_000, cache_write: 1_920, ..Tokens::default() });
        let second = meter.input(now, &prompted("gpt-6-luna", "k", &longer));
        assert_eq!(second, Tokens { input: 2_200, cached: 1_920, cache_write: 256, ..Tokens::default() });
        assert_eq!(meter.input(now, &prompted("gpt-6-luna", "other", &long)).cached, 0);
        assert_eq!(meter.input(now, &prompted("gpt-6-sol", "k", &long)).cached, 0);
        assert_eq!(meter.input(now, &prompted("gpt-6-luna", "k", &format!("y{long}"))).cached, 0);
        now += CACHE_LIFE;
        assert_eq!(meter.input(now, &prompted("gpt-6-luna", "k", &long)).cached, 0);
    }

    #[test]
    fn short_prompts_are_not_cached_and_old_models_write_for_free() {
        let (mut meter, now) = (Meter::default(), Instant::now());
        let short = "abcd".repeat(1_023);
        assert_eq!(
            meter.input(now, &prompted("gpt-6-luna", "k", &short)),
            Tokens { input: 1_023, ..Tokens::default() }
        );
        assert_eq!(meter.input(now, &prompted("gpt-6-luna", "k", &short)).cached, 0);
        let long = "abcd".repeat(1_024);
        assert_eq!(meter.input(now, &prompted("gpt-5", "k", &long)).cache_write, 0);
        let again = meter.input(now, &prompted("gpt-5", "k", &long));
        assert_eq!(again, Tokens { input: 1_024, cached: 1_024, ..Tokens::default() });
    }

    #[test]
    fn limits_open_again_when_the_minute_is_over() {
        let (mut meter, mut now) = (Meter::new(Some(2), None), Instant::now());
        assert!(meter.admit(now, "m", 5).is_ok());
        now += Duration::from_secs(10);
        assert!(meter.admit(now, "m", 5).is_ok());
        let refusal = meter.admit(now, "m", 5).expect_err("full");
        assert_eq!(refusal.retry_after, Some(Duration::from_secs(50)));
        now += Duration::from_secs(50);
        assert!(meter.admit(now, "m", 5).is_ok());

        let mut meter = Meter::new(None, Some(100));
        assert!(meter.admit(now, "m", 60).is_ok());
        let refusal = meter.admit(now, "m", 60).expect_err("full");
        assert_eq!((refusal.status, refusal.retry_after), (429, Some(MINUTE)));
        assert!(meter.admit(now, "m", 40).is_ok());
        let remaining = meter.headers(now).into_iter().find(|(name, _)| name == "x-ratelimit-remaining-tokens");
        assert_eq!(remaining.map(|(_, value)| value), Some("0".into()));
    }

    #[test]
    fn spans_as_in_the_headers() {
        for (ms, want) in [(0, "0ms"), (120, "120ms"), (1_000, "1s"), (59_001, "60s"), (360_000, "6m0s")] {
            assert_eq!(span(Duration::from_millis(ms)), want);
        }
    }
}
