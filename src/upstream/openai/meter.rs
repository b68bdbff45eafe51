//! What one attempt has used so far, as far as it can be seen from outside: for the ledger, if the attempt ends before
//! OpenAI has told its usage. Shared by whoever reads the stream and whoever has to settle the call when it is dropped.
//! Never waits; whoever asks says what time it is.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::tokens::TokenEstimate;
use crate::upstream::{ServiceTier, Usage};

/// Tokens that a model is taken to think in a second. OpenAI publishes no rate, so this is a guess on the high side: a
/// minute of silence is an answer of the usual longest length (`COACH_MAX_OUTPUT_TOKENS`), and more is never counted.
const THOUGHT_PER_SECOND: u64 = 70;

/// Characters of encrypted reasoning in a token: base64 is longer than what it hides.
const ENCRYPTED_CHARS: usize = 4;

/// The running estimate of one attempt.
#[derive(Debug)]
pub struct Meter {
    input_tokens: u64,
    /// The most it may write, reasoning included.
    max_output_tokens: u64,
    /// The model thinks before it writes.
    thinks: bool,
    seen: Mutex<Seen>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    tier: ServiceTier,
    /// Text and calls.
    written: TokenEstimate,
    /// Reasoning whose encrypted form has come.
    reasoning: u64,
    /// The model has been thinking since then, and nothing of it has come.
    thinking_since: Option<Instant>,
    /// Thought of which nothing ever came.
    thought: Duration,
    /// The model has begun an item of its answer.
    has_begun: bool,
}

impl Meter {
    pub fn new(input_tokens: u64, max_output_tokens: u32, thinks: bool) -> Self {
        let max_output_tokens = u64::from(max_output_tokens);
        Self { input_tokens, max_output_tokens, thinks, seen: Mutex::default() }
    }

    /// The attempt's usage at a guess: the whole input, what was seen of the output, and hidden reasoning by the time it
    /// took. Only a whole answer says which part of the input came from the cache and which was written to it, so all of it
    /// counts as written: no part is dearer.
    pub fn usage(&self, now: Instant) -> Usage {
        let seen = *self.lock();
        let open = seen.thinking_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let milliseconds = u64::try_from((seen.thought + open).as_millis()).unwrap_or(u64::MAX);
        let hidden = milliseconds.saturating_mul(THOUGHT_PER_SECOND) / 1_000;
        let reasoning = seen.reasoning.saturating_add(hidden);
        let output = seen.written.tokens().saturating_add(reasoning).min(self.max_output_tokens);
        Usage {
            input_tokens: self.input_tokens,
            cache_write_tokens: self.input_tokens,
            output_tokens: output,
            reasoning_tokens: reasoning.min(output),
            tier: seen.tier,
            estimated: true,
            ..Usage::default()
        }
    }

    /// The model has begun an item of its answer: from here on even a failure is paid.
    pub(super) fn has_begun(&self) -> bool {
        self.lock().has_begun
    }

    /// The tier that the answer named last.
    pub(super) fn tier(&self) -> ServiceTier {
        self.lock().tier
    }

    /// The answer names the tier that it is billed by.
    pub(super) fn billed_by(&self, tier: ServiceTier) {
        self.lock().tier = tier;
    }

    /// The response is created: unless it begins with text, the model thinks.
    pub(super) fn created(&self, now: Instant) {
        let mut seen = self.lock();
        if self.thinks && !seen.has_begun {
            seen.thinking_since.get_or_insert(now);
        }
    }

    /// An item begins.
    pub(super) fn began(&self, is_reasoning: bool, now: Instant) {
        let mut seen = self.lock();
        seen.has_begun = true;
        match is_reasoning {
            true => {
                seen.thinking_since.get_or_insert(now);
            }
            false => seen.stop_thinking(now),
        }
    }

    /// A piece of text, or of a call.
    pub fn wrote(&self, text: &str, now: Instant) {
        let mut seen = self.lock();
        seen.has_begun = true;
        seen.stop_thinking(now);
        seen.written.push(text);
    }

    /// Tokens of the answer that stand for no text.
    pub(super) fn wrote_tokens(&self, tokens: u64) {
        self.lock().written.add(tokens);
    }

    /// A reasoning item is complete. Its encrypted form tells more than the time it took.
    pub(super) fn reasoned(&self, encrypted: &str, now: Instant) {
        let mut seen = self.lock();
        seen.has_begun = true;
        if encrypted.is_empty() {
            return seen.stop_thinking(now);
        }
        seen.thinking_since = None;
        let tokens = u64::try_from(encrypted.len().div_ceil(ENCRYPTED_CHARS)).unwrap_or(u64::MAX);
        seen.reasoning = seen.reasoning.saturating_add(tokens);
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn stop_thinking(&mut self, now: Instant) {
        if let Some(since) = self.thinking_since.take() {
            self.thought += now.saturating_duration_since(since);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(meter: &Meter, now: Instant) -> (u64, u64) {
        let usage = meter.usage(now);
        assert!(usage.estimated && usage.cache_write_tokens == usage.input_tokens);
        (usage.output_tokens, usage.reasoning_tokens)
    }

    #[test]
    fn hidden_thought_counts_by_its_time_and_never_beyond_the_limit() {
        let (meter, at) = (Meter::new(1_000, 4_000, true), Instant::now());
        let later = |seconds| at + Duration::from_secs(seconds);
        assert_eq!(output(&meter, later(30)), (0, 0), "nothing is created yet");
        meter.created(at);
        assert_eq!(output(&meter, later(10)), (700, 700));
        meter.began(true, later(1));
        assert_eq!(output(&meter, later(10)), (700, 700), "since the beginning");
        assert_eq!(output(&meter, later(3_600)), (4_000, 4_000));
        // What comes of it says more: 400 characters are 100 tokens.
        meter.reasoned(&"a".repeat(400), later(10));
        assert_eq!(output(&meter, later(20)), (100, 100));
        meter.began(false, later(20));
        meter.wrote("Start with the crust.", later(20));
        assert_eq!(output(&meter, later(60)), (105, 100), "it writes");
        // A second thought that is never shown.
        meter.began(true, later(60));
        meter.reasoned("", later(70));
        assert_eq!(output(&meter, later(600)), (805, 800));
    }

    #[test]
    fn a_model_that_does_not_think_only_writes() {
        let (meter, at) = (Meter::new(1_000, 4_000, false), Instant::now());
        meter.created(at);
        assert_eq!((output(&meter, at + Duration::from_secs(60)), meter.has_begun()), ((0, 0), false));
        meter.began(false, at);
        meter.wrote_tokens(3);
        assert_eq!((output(&meter, at), meter.has_begun()), ((3, 0), true));
    }

    #[test]
    fn the_tier_is_the_one_that_the_answer_named() {
        let meter = Meter::new(1, 1, true);
        meter.billed_by(ServiceTier::Priority);
        assert_eq!(meter.usage(Instant::now()).tier, ServiceTier::Priority);
    }
}
