//! Counts: tokens and the prompt cache. Pure: whoever asks says what time it is.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::catalogue;
use super::check::Prompted;
use super::rates::Rates;

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

#[derive(Debug, Default)]
pub(super) struct Meter {
    rates: Rates,
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
    pub(super) fn new(rates: Rates) -> Self {
        Self { rates, ..Self::default() }
    }

    /// The rate limits.
    pub(super) fn rates(&mut self) -> &mut Rates {
        &mut self.rates
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
}

fn shared_tokens(a: &str, b: &str) -> u64 {
    let chars = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    u64::try_from(chars / 4).unwrap_or(u64::MAX)
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
}
