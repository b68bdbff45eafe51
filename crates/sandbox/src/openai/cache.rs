//! The prompt cache by its documented rules (OpenAI, guide "Prompt caching", of September 2026). Owns what was written,
//! and until when it is there. Pure: whoever asks says what time it is.
//!
//! - From GPT-5.6 on a prefix is found only where it was cut when it was written: at the end of the latest message of
//!   the user (or tool response), and where the caller marked it. A prefix that two requests merely share is not found.
//! - Models before that are cut at even distances, and report multiples of 128 tokens.
//! - A prefix shorter than 1,024 tokens is not kept; one that is kept lives for 30 minutes after its latest use.
//! - Model and `prompt_cache_key` keep caches apart. There is one machine, so no request overflows to another.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::catalogue;
use super::rendered::Rendered;
use super::tokens::{CHARS, tokens};

const SHORTEST_PREFIX: u64 = 1024;
const CACHE_LIFE: Duration = Duration::from_secs(30 * 60);
/// Of earlier models: the distance of the cuts, and the step of what is reported.
const INTERVAL: u64 = 128;
const INTERVAL_OF_5_5: u64 = 2048;
/// How many of the caller's marks are looked at from the front and from the back, and how many earlier messages.
const FIRST_MARKS: usize = 2;
const LATEST_MARKS: usize = 50;
const EARLIER_ENDINGS: usize = 20;
/// A request writes no more prefixes than that.
const MOST_WRITES: usize = 4;

type Fingerprint = [u8; 32];

#[derive(Debug, Default)]
pub(super) struct PromptCache {
    /// What was written, and when it was used last.
    kept: HashMap<Fingerprint, Instant>,
    /// What is too old is thrown away when there are so many.
    crowd: usize,
}

/// One prefix of a request.
struct Cut {
    tokens: u64,
    fingerprint: Fingerprint,
    is_looked_at: bool,
    is_written: bool,
}

impl PromptCache {
    /// The tokens that are read from the cache, and those that are written to it and charged for.
    pub(super) fn pass(&mut self, now: Instant, model: &str, key: &str, prompt: &Rendered) -> (u64, u64) {
        let is_new = catalogue::traits(model).writes_cache;
        let cuts = cuts(model, key, prompt, is_new);
        let found = cuts.iter().rev().filter(|cut| cut.is_looked_at).find(|cut| self.is_kept(&cut.fingerprint, now));
        let cached = found.map_or(0, |cut| cut.tokens);
        if let Some(found) = found {
            self.kept.insert(found.fingerprint, now);
        }
        let mut written = 0;
        for cut in cuts.iter().filter(|cut| cut.is_written) {
            written = written.max(cut.tokens.saturating_sub(cached));
            self.kept.insert(cut.fingerprint, now);
        }
        if self.kept.len() > self.crowd {
            self.kept.retain(|_, used| now.saturating_duration_since(*used) < CACHE_LIFE);
            self.crowd = (self.kept.len() * 2).max(1024);
        }
        (cached, if is_new { written } else { 0 })
    }

    fn is_kept(&self, fingerprint: &Fingerprint, now: Instant) -> bool {
        self.kept.get(fingerprint).is_some_and(|used| now.saturating_duration_since(*used) < CACHE_LIFE)
    }
}

/// The prefixes that matter, the shortest first.
fn cuts(model: &str, key: &str, prompt: &Rendered, is_new: bool) -> Vec<Cut> {
    let (looked, written) = if is_new { chosen(prompt) } else { even(model, prompt) };
    let mut places: Vec<usize> = looked.iter().chain(&written).copied().collect();
    places.sort_unstable();
    places.dedup();
    let mut hash = Sha256::new();
    for part in [model, key] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let (mut at, mut chars) = (0, 0);
    let mut cuts = Vec::with_capacity(places.len());
    for place in places {
        let piece = prompt.text.get(at..place).unwrap_or_default();
        hash.update(piece.as_bytes());
        chars += piece.chars().count();
        at = place;
        let tokens = tokens(chars);
        if tokens >= SHORTEST_PREFIX {
            let (is_looked_at, is_written) = (looked.contains(&place), written.contains(&place));
            cuts.push(Cut { tokens, fingerprint: hash.clone().finalize().into(), is_looked_at, is_written });
        }
    }
    cuts
}

/// Where a model from GPT-5.6 on looks, and where it writes.
fn chosen(prompt: &Rendered) -> (Vec<usize>, Vec<usize>) {
    let marks = &prompt.marks;
    let latest = |many: usize| marks.iter().rev().take(many).copied();
    let mut looked: Vec<usize> = marks.iter().take(FIRST_MARKS).copied().chain(latest(LATEST_MARKS)).collect();
    if prompt.marked_only {
        return (looked, latest(MOST_WRITES).collect());
    }
    looked.extend(prompt.endings.iter().rev().take(1 + EARLIER_ENDINGS));
    looked.extend(prompt.opening);
    let written = latest(MOST_WRITES - 1).chain(prompt.endings.last().copied()).collect();
    (looked, written)
}

/// Where an earlier one does both.
fn even(model: &str, prompt: &Rendered) -> (Vec<usize>, Vec<usize>) {
    let interval = if model.starts_with("gpt-5.5") { INTERVAL_OF_5_5 } else { INTERVAL };
    let chars = usize::try_from(interval * CHARS as u64).unwrap_or(usize::MAX);
    let starts = prompt.text.char_indices().map(|(at, _)| at).chain([prompt.text.len()]);
    let places: Vec<usize> = starts.step_by(chars).skip(1).collect();
    (places.clone(), places)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const LUNA: &str = "gpt-6-luna";

    struct Desk {
        cache: PromptCache,
        now: Instant,
    }

    impl Desk {
        fn new() -> Self {
            Self { cache: PromptCache::default(), now: Instant::now() }
        }

        fn ask(&mut self, model: &str, key: &str, instructions: &str, input: &[Value]) -> (u64, u64) {
            let prompt = Rendered::new(&json!({}), "low", &[], instructions, input);
            self.cache.pass(self.now, model, key, &prompt)
        }
    }

    fn said(role: &str, text: &str) -> Value {
        json!({ "type": "message", "role": role, "content": text })
    }

    fn marked(text: &str) -> Value {
        json!({ "role": "user", "content": [{ "type": "input_text", "text": text, "prompt_cache_breakpoint": { "mode": "explicit" } }] })
    }

    /// With `low` and a line's end before it, so many tokens.
    fn long(tokens: usize) -> String {
        "x".repeat((tokens - 1) * CHARS)
    }

    fn size(instructions: &str, input: &[Value]) -> u64 {
        tokens(Rendered::new(&json!({}), "low", &[], instructions, input).text.chars().count())
    }

    #[test]
    fn a_conversation_that_grows_is_read_up_to_the_last_question() {
        let (mut desk, base) = (Desk::new(), long(2_000));
        let first = [said("user", "one")];
        let whole = size(&base, &first);
        assert_eq!(desk.ask(LUNA, "k", &base, &first), (0, whole));
        let second =
            [said("user", "one"), said("assistant", "1"), said("user", "two"), said("developer", "It is late.")];
        let through_two = size(&base, &second[..3]);
        assert_eq!(desk.ask(LUNA, "k", &base, &second), (whole, through_two - whole), "what follows it is not written");
        assert_eq!(desk.ask(LUNA, "k", &base, &second), (through_two, 0), "nor is what is there");
        for (model, key) in [(LUNA, "other"), ("gpt-6-sol", "k")] {
            assert_eq!(desk.ask(model, key, &base, &first), (0, whole));
        }
        assert_eq!(desk.ask(LUNA, "k", &format!("y{base}"), &first).0, 0);
    }

    #[test]
    fn a_shared_prefix_is_not_a_cached_one() {
        let (mut desk, base) = (Desk::new(), long(2_000));
        // The same instructions, then something else: nothing ends behind the instructions.
        desk.ask(LUNA, "k", &base, &[said("user", "one")]);
        assert_eq!(desk.ask(LUNA, "k", &base, &[said("user", "two")]).0, 0);
        // The time between the history and the question is in the way of the next turn.
        desk.ask(LUNA, "k", &base, &[said("developer", "Monday"), said("user", "three")]);
        let next = [said("user", "three"), said("assistant", "3"), said("developer", "Tuesday"), said("user", "four")];
        assert_eq!(desk.ask(LUNA, "k", &base, &next).0, 0);
        // A message that grew is another one.
        assert_eq!(desk.ask(LUNA, "k", &base, &[said("user", "one and more")]).0, 0);
    }

    #[test]
    fn marks_are_found_whatever_follows() {
        let (mut desk, base) = (Desk::new(), long(1_500));
        let first = [marked("me"), said("user", "one")];
        let stable = size(&base, &first[..1]);
        assert_eq!(desk.ask(LUNA, "k", &base, &first), (0, size(&base, &first)));
        let other = [marked("me"), said("user", "something else")];
        assert_eq!(desk.ask(LUNA, "k", &base, &other), (stable, size(&base, &other) - stable));
    }

    #[test]
    fn tool_responses_and_distant_messages() {
        let (mut desk, base) = (Desk::new(), long(2_000));
        let call = json!({ "type": "function_call", "call_id": "c", "name": "n", "arguments": "{}" });
        let output = json!({ "type": "function_call_output", "call_id": "c", "output": "fine" });
        let mut input = vec![said("user", "one")];
        let asked = size(&base, &input);
        desk.ask(LUNA, "k", &base, &input);
        input.extend([said("developer", "It is late."), call, output]);
        let ran = size(&base, &input);
        assert_eq!(desk.ask(LUNA, "k", &base, &input), (asked, ran - asked));
        input.push(said("assistant", "done"));
        // Twenty messages back is the farthest.
        input.extend((0..20).map(|n| said("user", &n.to_string())));
        assert_eq!(desk.ask(LUNA, "k", &base, &input).0, ran);
        let mut input = vec![said("user", "one"), said("assistant", "1")];
        input.extend((0..21).map(|n| said("user", &n.to_string())));
        assert_eq!(desk.ask(LUNA, "k", &base, &input).0, 0);
    }

    #[test]
    fn it_lives_half_an_hour_after_its_latest_use() {
        let (mut desk, base) = (Desk::new(), long(2_000));
        let ask = |desk: &mut Desk| desk.ask(LUNA, "k", &base, &[said("user", "one")]).0 > 0;
        assert!(!ask(&mut desk));
        for _ in 0..3 {
            desk.now += CACHE_LIFE - Duration::from_secs(1);
            assert!(ask(&mut desk));
        }
        desk.now += CACHE_LIFE;
        assert!(!ask(&mut desk));
    }

    #[test]
    fn short_prompts_are_not_kept() {
        let mut desk = Desk::new();
        let input = [said("user", "one")];
        let rest = usize::try_from(size("", &input)).unwrap();
        let (short, enough) = ("x".repeat((1_023 - rest) * CHARS), "x".repeat((1_024 - rest) * CHARS));
        assert_eq!((size(&short, &input), size(&enough, &input)), (1_023, 1_024));
        for (instructions, want) in [(&short, [(0, 0), (0, 0)]), (&enough, [(0, 1_024), (1_024, 0)])] {
            assert_eq!([0, 1].map(|_| desk.ask(LUNA, "k", instructions, &input)), want);
        }
    }

    #[test]
    fn earlier_models_are_cut_at_even_distances_and_write_for_nothing() {
        let (mut desk, base) = (Desk::new(), long(3_000));
        assert_eq!(desk.ask("gpt-5", "k", &base, &[said("user", "one")]), (0, 0));
        assert_eq!(desk.ask("gpt-5", "k", &base, &[said("user", "two")]), (3_000 / 128 * 128, 0));
        desk.ask("gpt-5.5", "k", &base, &[said("user", "one")]);
        assert_eq!(desk.ask("gpt-5.5", "k", &base, &[said("user", "two")]), (2_048, 0));
    }
}
