//! What the model is sent: the frame of a turn, and its input in the order that keeps the provider's cache warm. Owns the
//! order and the measures; calls nothing.

use std::fmt::Write;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::turn::Frame;
use super::{Coach, Question};
use crate::fence::encode;
use crate::store::chats::{Line, Memory, Role};
use crate::store::turns::Turn;
use crate::upstream::openai::{Item, ToolSpec};

/// Longest name and summary, in characters as they are sent.
const LONGEST_NAME: usize = 80;
const LONGEST_SUMMARY: usize = 12_000;

/// A question whose answer is given to others too: nothing is said of who asks, where and when.
pub(super) fn shared_input(question: &Question) -> Vec<Item> {
    vec![Item::System(COMMON.into()), Item::User(question.text.clone())]
}

/// Stands before such a question.
const COMMON: &str = "You do not know who asks, and the answer may be given to others who ask the same: name nobody, and no date or time of today.";

impl Coach {
    /// What stays the same over all calls of a turn.
    pub(super) fn frame(&self, turn: &Turn, memory: &Memory, is_sparing: bool) -> Frame {
        let settings = &self.settings;
        let (model, effort) = match is_sparing {
            true => (&settings.economy_model, settings.economy_effort),
            false => (&settings.model, settings.effort),
        };
        Frame {
            model: model.clone(),
            effort,
            max_output_tokens: self.settings.max_output_tokens,
            instructions: self.settings.instructions.clone(),
            tools: Arc::clone(&self.tools),
            // One conversation is one growing prefix.
            cache_key: opaque(&["conversation", &memory.conversation.to_string()]),
            safety_id: opaque(&["person", &turn.person.to_string()]),
        }
    }

    /// The prompt: what never changes first, then what was said and the question, and behind it what changes with each
    /// turn. The provider keeps a prefix only up to the end of the latest question, and finds it again only where a
    /// question ends (OpenAI, guide "Prompt caching"): whatever stands before a question has to stand there in the next
    /// turn too, word for word. Whatever people or models wrote comes as the user's words: only ours have a developer's
    /// authority.
    pub(super) fn input(&self, turn: &Turn, question: &Question, memory: &Memory, is_sparing: bool) -> Vec<Item> {
        let mut input = Vec::with_capacity(memory.lines.len() + 6);
        // Names are chosen by anybody, and the summary holds words of others: both are data.
        input.push(Item::User(format!("(My display name here is {}.)", encode(&question.name, LONGEST_NAME))));
        if !memory.summary.is_empty() {
            input.push(Item::User(format!(
                "(What we talked about before, in short: {})",
                encode(&memory.summary, LONGEST_SUMMARY)
            )));
        }
        let most = self.settings.history_chars;
        for line in recent(&memory.lines, if is_sparing { most / 4 } else { most * LONGEST_HISTORY }) {
            input.push(match line.role {
                Role::Coach => Item::Assistant(line.content.clone()),
                Role::Person | Role::Reel => Item::User(line.content.clone()),
            });
        }
        // As Question::lines has them remembered.
        input.extend(question.reel.as_ref().map(|reel| Item::User(reel.block.clone())));
        if !question.text.is_empty() {
            input.push(Item::User(question.text.clone()));
        }
        let today =
            self.clock.now().utc().map(|now| now.format("%A, %-d %B %Y, %H:%M UTC").to_string()).unwrap_or_default();
        input.push(Item::System(format!("It is {today}. You talk on {}.", turn.chat.platform)));
        if let Some(note) = &question.note {
            input.push(Item::System(format!("Tell the person this, in their language: {note}")));
        }
        input
    }
}

/// If summaries keep failing, no more than so many times the usual length is sent.
const LONGEST_HISTORY: usize = 3;

/// The newest lines that are together no longer than `limit` bytes, and at least one. Too long a history loses half of
/// `limit` or more at once: if it lost a line with each turn, no prefix of it would ever be found in the provider's cache.
fn recent(lines: &[Line], limit: usize) -> &[Line] {
    let total: usize = lines.iter().map(|line| line.content.len()).sum();
    let step = (limit / 2).max(1);
    let surplus = total.saturating_sub(limit).div_ceil(step) * step;
    let mut gone = 0;
    let first = lines.iter().position(|line| {
        let is_enough = gone >= surplus;
        gone += line.content.len();
        is_enough
    });
    let latest = lines.len().saturating_sub(1);
    lines.get(first.unwrap_or(latest).min(latest)..).unwrap_or_default()
}

/// How many lines from the start make about the older half, if all are longer than `limit` characters; never splits
/// off the last two lines.
pub(super) fn older_half(lines: &[Line], limit: usize) -> Option<usize> {
    let lengths: Vec<usize> = lines.iter().map(|line| line.content.chars().count()).collect();
    let total: usize = lengths.iter().sum();
    if total <= limit || lines.len() < 4 {
        return None;
    }
    let mut sum = 0;
    let cut = lengths.iter().position(|length| {
        sum += length;
        sum >= total / 2
    })? + 1;
    Some(cut.clamp(2, lines.len() - 2))
}

/// About as many bytes as the tools take in the request.
pub(super) fn tools_length(tools: &[ToolSpec]) -> usize {
    tools.iter().map(|tool| tool.name.len() + tool.description.len() + tool.parameters.to_string().len() + 64).sum()
}

/// About as many characters as the provider is sent.
pub(super) fn length(item: &Item) -> usize {
    match item {
        Item::User(text) | Item::Assistant(text) | Item::System(text) => text.len(),
        Item::Raw(value) => value.to_string().len(),
        Item::ToolOutput { output, .. } => output.len(),
    }
}

/// A stable name that says nothing about who it is of.
pub(super) fn opaque(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    hash.update(b"reelcoach");
    for part in parts {
        hash.update([0]);
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().take(16).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(length: usize) -> Line {
        Line { id: String::new(), role: Role::Person, content: "x".repeat(length) }
    }

    #[test]
    fn what_is_summarised() {
        assert_eq!(older_half(&[line(10), line(10), line(10), line(10)], 100), None);
        assert_eq!(older_half(&[line(40), line(40), line(40), line(40)], 100), Some(2));
        assert_eq!(older_half(&[line(10), line(10), line(10), line(500)], 100), Some(2), "the last two lines stay");
        assert_eq!(older_half(&[line(500), line(10), line(10), line(10)], 100), Some(2));
        assert_eq!(older_half(&[line(500), line(500)], 100), None);
    }

    #[test]
    fn a_long_history_is_cut_seldom_and_in_large_steps() {
        let limit = 1_000;
        let mut lines = Vec::new();
        let (mut starts, mut turns) = (Vec::new(), 0);
        for length in [30, 250, 80, 400, 10, 120, 60, 333].into_iter().cycle().take(200) {
            lines.push(line(length));
            let kept = recent(&lines, limit);
            let size: usize = kept.iter().map(|line| line.content.len()).sum();
            assert!(size <= limit && !kept.is_empty(), "{size}");
            if kept.len() < lines.len() {
                assert!(size > limit / 2 - 400, "no more is left out than has to be: {size}");
            }
            turns += 1;
            let start = lines.len() - kept.len();
            if starts.last() != Some(&start) {
                starts.push(start);
            }
        }
        assert!(starts.is_sorted() && starts.len() * 3 < turns, "{} of {turns}", starts.len());
        assert_eq!(recent(&[line(5_000)], limit).len(), 1, "one stays, however long it is");
        assert_eq!(recent(&[line(5_000), line(5_000)], limit).len(), 1);
        assert_eq!(recent(&[], limit).len(), 0);
    }

    #[test]
    fn names_are_opaque_and_stable() {
        assert_eq!(opaque(&["a", "b"]), opaque(&["a", "b"]));
        assert_ne!(opaque(&["ab"]), opaque(&["a", "b"]));
        assert_eq!(opaque(&["a"]).len(), 32);
    }
}
