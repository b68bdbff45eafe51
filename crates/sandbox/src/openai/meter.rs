//! Counts: tokens, with the prompt cache and the rate limits beside them. Pure: whoever asks says what time it is.

use std::time::Instant;

use super::cache::PromptCache;
use super::check::Prompted;
use super::rates::Rates;
use super::tokens::count;

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

#[derive(Debug, Default)]
pub(super) struct Meter {
    rates: Rates,
    cache: PromptCache,
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
        let (cached, cache_write) = self.cache.pass(now, &request.model, &request.cache_key, &request.prompt);
        Tokens { input: count(&request.prompt.text), cached, cache_write, ..Tokens::default() }
    }
}
