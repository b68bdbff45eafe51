//! Answers to common questions, given again. Owns which questions are common, and under which key an answer is kept:
//! the exact question after normalisation, the model with its effort, and the prompt. The language needs no part in it,
//! because the words of the question are of one.
//!
//! An answer is shared with other people, so nothing of a person may be in it. A question is common only if it is the
//! first of its conversation, short, and nothing but text; the model is then sent that text and nothing else, neither the
//! display name nor the platform nor the time ([`super::prompt`]). An answer for which a tool was used, or which is not
//! whole, is not kept.

use unicode_normalization::UnicodeNormalization;

use super::prompt::opaque;
use super::turn::{AnswerEnding, TOOL_ROUNDS};
use super::{Answered, Coach, Effort, Question, SPARING};
use crate::store::StoreError;
use crate::store::answers::KeptAnswer;
use crate::store::chats::Memory;
use crate::store::turns::Turn;

/// Whether an answer that was given before may be given again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recall {
    /// The question has something that only this person means.
    No,
    /// It is nothing but its text.
    May,
    /// The person has seen the answer that is kept, and wants a new one.
    Afresh,
}

/// Longer ones are hardly asked twice, and likelier to tell of somebody.
const LONGEST: usize = 300;

impl Coach {
    /// Whether the question is sent alone, so that its answer may be shared.
    pub(super) fn is_common(&self, question: &Question, memory: &Memory) -> bool {
        let is_first = memory.lines.is_empty() && memory.summary.is_empty();
        !self.settings.answer_cache.is_zero()
            && question.note.is_none()
            && question.reel.is_none()
            && common_form(&question.text).is_some()
            && match question.recall {
                Recall::No => false,
                Recall::May => is_first,
                Recall::Afresh => true,
            }
    }

    /// The answer that is kept for a question, if it may be given now. Costs nothing, so no budget is in its way.
    pub async fn recall(
        &self,
        turn: &Turn,
        question: &Question,
        memory: &Memory,
    ) -> Result<Option<KeptAnswer>, StoreError> {
        if question.recall != Recall::May || !self.is_common(question, memory) {
            return Ok(None);
        }
        let now = self.clock.now();
        let Some(usual) = self.key(question, false) else { return Ok(None) };
        if let Some(kept) = self.store.kept_answer(&usual, now).await? {
            return Ok(Some(kept));
        }
        // What the cheaper model said is good enough where it would answer now.
        let Some(cheaper) = self.key(question, true).filter(|cheaper| *cheaper != usual) else { return Ok(None) };
        let Some(kept) = self.store.kept_answer(&cheaper, now).await? else { return Ok(None) };
        let tightest = self.purse.tightest(turn.person, &turn.chat).await?;
        Ok(tightest.is_some_and(|standing| standing.percent() >= SPARING).then_some(kept))
    }

    /// The answer that is kept for a question, of whichever model, where no budget covers a new one of the usual model. The
    /// person who wants a new answer has seen the one that is kept.
    pub(super) async fn recall_either(
        &self,
        question: &Question,
        memory: &Memory,
    ) -> Result<Option<KeptAnswer>, StoreError> {
        if question.recall != Recall::May || !self.is_common(question, memory) {
            return Ok(None);
        }
        for is_sparing in [false, true] {
            let Some(key) = self.key(question, is_sparing) else { continue };
            let kept = self.store.kept_answer(&key, self.clock.now()).await?;
            if kept.is_some() {
                return Ok(kept);
            }
        }
        Ok(None)
    }

    /// Keeps an answer for others, if it may be shared.
    pub async fn keep(&self, question: &Question, memory: &Memory, answered: &Answered) -> Result<(), StoreError> {
        let is_whole = answered.answer.ending == AnswerEnding::Whole;
        if !is_whole || answered.used_tools || !self.is_common(question, memory) {
            return Ok(());
        }
        let Some(key) = self.key(question, answered.sparing.is_some()) else { return Ok(()) };
        let (text, now) = (&answered.answer.text, self.clock.now());
        self.store.keep_answer(&key, &question.text, text, now + self.settings.answer_cache).await
    }

    /// The question under whose key an answer is kept, or was until a while ago.
    pub async fn asked_under(&self, key: &str) -> Result<Option<String>, StoreError> {
        self.store.question_of(key).await
    }

    fn key(&self, question: &Question, is_sparing: bool) -> Option<String> {
        let settings = &self.settings;
        let (model, effort) = match is_sparing {
            true => (&settings.economy_model, settings.economy_effort),
            false => (&settings.model, settings.effort),
        };
        let effort = effort.map(Effort::name).unwrap_or_default();
        // The tools are part of what the model is told.
        let version = format!("1 {TOOL_ROUNDS} {}", settings.max_output_tokens);
        let form = common_form(&question.text)?;
        Some(opaque(&["answer", &version, &settings.instructions, model, effort, &form]))
    }
}

/// A question as it is compared: compatibility forms, capitals, blanks and the punctuation at its ends do not count.
/// `None` if it is none that many would ask.
fn common_form(text: &str) -> Option<String> {
    if text.chars().nth(LONGEST).is_some() {
        return None;
    }
    let lower = text.nfkc().collect::<String>().to_lowercase();
    let plain: String = lower.nfkc().map(|c| if matches!(c, '\u{2018}' | '\u{2019}') { '\'' } else { c }).collect();
    if has_link(&plain) {
        return None;
    }
    let words: Vec<&str> = plain.split_whitespace().collect();
    let words = words.join(" ");
    let form = words.trim_matches(is_edge);
    (form.chars().any(char::is_alphanumeric)).then(|| form.to_owned())
}

/// What does not count at the ends.
fn is_edge(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, '.' | ',' | '!' | '?' | ';' | ':' | '\u{2026}' | '"' | '\'' | '`' | '*' | '_' | '~' | '-')
        || matches!(
            c,
            '\u{bf}' | '\u{a1}' | '\u{ab}' | '\u{bb}' | '\u{201c}'..='\u{201f}' | '\u{2013}' | '\u{2014}' | '(' | ')'
        )
}

/// Whether there may be an address, a handle or a tag of somebody in it.
fn has_link(text: &str) -> bool {
    text.contains("://") || text.contains('@') || text.contains("www.")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_the_same_question() {
        for (one, other) in [
            ("How do I open a reel?", " how do i  open a\nreel "),
            ("Don\u{2019}t I need a hook?!", "don't i need a hook"),
            ("\u{bf}Qu\u{e9} es un gancho?", "que\u{301} es un gancho"),
            ("\u{ff28}\u{ff4f}\u{ff4f}\u{ff4b}?", "hook"),
            ("**What is a hook?**", "what is a hook..."),
            ("Wie gro\u{df} ist ein Reel?", "WIE GRO\u{df} IST EIN REEL"),
        ] {
            assert_eq!(common_form(one), common_form(other), "{one} / {other}");
            assert!(common_form(one).is_some(), "{one}");
        }
        assert_ne!(common_form("What is a hook?"), common_form("What is the hook?"));
        assert_ne!(common_form("Is C++ a topic?"), common_form("Is C a topic?"));
    }

    #[test]
    fn what_is_no_common_question() {
        for text in [
            "",
            " ?! ",
            "\u{1f642}",
            "see https://x.y",
            "ask @ana about it",
            "ask \u{ff20}ana",
            "WWW.x.y",
            &"a ".repeat(200),
        ] {
            assert_eq!(common_form(text), None, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_form_is_its_own_form(text: String) {
            if let Some(form) = common_form(&text) && form.chars().count() <= LONGEST {
                prop_assert_eq!(common_form(&form), Some(form));
            }
        }
    }
}
