//! Turns without an answer, and questions that are asked once more. Owns the apology, what the memory keeps of the question,
//! and what the button under it does.
//!
//! ```text
//! question ──► failed ──► button ──► taken by the turn of the press ──► answered: its lines replace the failed ones
//!                ▲                                                    ├► failed or refused: likewise, with a button of its own
//!                │                                                    └► a reel in the line: the turn that answers about it does so
//!                └─ words ("please try again"): the model finds the question in the memory
//! ```
//!
//! The button names the turn that failed. Only the person who asked can take it, in the chat where they asked, and once;
//! only if nothing came of it, as where the reel was cancelled, once more.

use super::plan::{Asking, Kept, Plan, asks_again, is_passing};
use super::{Replies, Screen};
use crate::core::chat::{Body, Inbound};
use crate::core::coach::{Question, QuestionReel, Replaced};
use crate::core::command::Command;
use crate::core::leases::HeldTurn;
use crate::core::reels::read_result;
use crate::core::wording;
use crate::ids::Shortcode;
use crate::store::StoreError;
use crate::store::chats::{Memory, Role};
use crate::store::reels::Subscription;
use crate::store::turns::memory::{Remembered, Retried, Retry};
use crate::store::turns::{Source, Turn};
use crate::telemetry::Reference;
use crate::upstream::{Cause, Failure};

impl Replies {
    /// Says that there is no answer, and keeps the question.
    pub(super) async fn apologise(
        &self,
        turn: &HeldTurn,
        question: &Question,
        memory: &Memory,
        failure: &Failure,
        screen: &mut Screen,
    ) -> Result<(), StoreError> {
        let reference = Reference::new();
        if let Cause::OverBudget(_) | Cause::Crowded { .. } = failure.cause {
            tracing::info!(turn = %turn.id, "a turn was not answered: {failure}");
        } else {
            tracing::error!(turn = %turn.id, %reference, "a turn could not be answered: {failure}");
            self.note_failure(turn, &reference, failure.cause.name(), failure.to_string()).await;
        }
        let sentence = wording::failure(&failure.cause, &reference, self.clock.now());
        let text = question.below_transcript(sentence);
        let buttons = failure.cause.is_transient().then(|| wording::try_again(turn.id)).into_iter().collect();
        let lines = question.lines_without_answer(Some(&failure.cause));
        let remembered = Remembered { retry: Some(Retry::Failed), ..question.remembered(memory, &lines) };
        screen.told.source = Some(Source::Failure);
        self.finish(turn, Body { text, buttons, ..Body::default() }, Some(remembered), screen).await
    }

    /// Says that a turn has failed too often to be tried any more.
    pub(super) async fn give_up(
        &self,
        turn: &HeldTurn,
        wish: Option<&Subscription>,
        screen: &mut Screen,
    ) -> Result<(), StoreError> {
        let reference = Reference::new();
        let attempts = turn.attempt - 1;
        tracing::error!(turn = %turn.id, %reference, "a turn is given up after {attempts} attempts");
        self.note_failure(turn, &reference, "internal", format!("given up after {attempts} attempts")).await;
        screen.told.source = Some(Source::Failure);
        let text = wording::internal_failure(&reference);
        // Whatever it was that failed so often may be in the way here too: then the question is lost, and the turn ends.
        let kept = async {
            let question = self.question_of(turn, wish).await?;
            let memory = self.store.memory(turn.person, &turn.chat, self.clock.now()).await?;
            Ok::<_, StoreError>(question.map(|question| (question, memory)))
        };
        match kept.await {
            Ok(Some((question, memory))) => {
                let lines = question.lines_without_answer(None);
                let remembered = Remembered { retry: Some(Retry::Failed), ..question.remembered(&memory, &lines) };
                self.finish(turn, asks_again(turn, text), Some(remembered), screen).await
            }
            Ok(None) => self.finish(turn, Body::text(text), None, screen).await,
            Err(error) => {
                tracing::warn!(turn = %turn.id, "the question of a turn that is given up could not be kept: {error}");
                self.finish(turn, Body::text(text), None, screen).await
            }
        }
    }

    /// What a turn asks the coach; `None` if it asks something else.
    async fn question_of(&self, turn: &Turn, wish: Option<&Subscription>) -> Result<Option<Question>, StoreError> {
        if let Some(wish) = wish {
            let question = self.reel_question(turn, wish).await?;
            return Ok(Some(match read_result(wish.result.clone())? {
                Ok(reel) => question.about(&reel, self.coach.fences()),
                Err(_) => question,
            }));
        }
        let said = self.said(turn).await?;
        let Some(first) = said.inbounds.first() else { return Ok(None) };
        let name = first.author.name.clone();
        Ok(match Command::read(&said.text) {
            Command::Talk(text) | Command::Reel { text, .. } => Some(Question::of(text.trim().to_owned(), name)),
            Command::Again(named) => match self.retried(turn, &named).await? {
                Retried::Taken { lines, failed } => Some(asked_again(&named, name, lines, failed)),
                Retried::Already | Retried::Gone | Retried::NotTheirs => None,
            },
            _ => None,
        })
    }

    /// The button under an apology, or under an answer that was given before: the same question once more.
    pub(super) async fn plan_again(
        &self,
        turn: &Turn,
        first: &Inbound,
        named: &str,
        screen: &mut Screen,
    ) -> Result<Plan, StoreError> {
        if let Some(pausing) = self.pausing(first).await? {
            return self.once_sealed(turn, screen, pausing).await;
        }
        let sentence = match self.retried(turn, named).await? {
            Retried::Taken { lines, failed } => {
                let question = asked_again(named, first.author.name.clone(), lines, failed);
                let mentioned = self.reels.mentioned(&question.text, &[]).await;
                // A reel that could not be watched is watched now.
                if question.reel.is_none() && !mentioned.reels.is_empty() {
                    return match self.once_sealed(turn, screen, Plan::Nothing).await? {
                        Plan::Nothing => self.plan_submission(turn, question, mentioned, Asking::Again).await,
                        other => Ok(other),
                    };
                }
                return Ok(Plan::Coach(question));
            }
            // Its answer stands there, or is on its way.
            Retried::Already => return self.once_sealed(turn, screen, Plan::Done).await,
            Retried::Gone => wording::try_again_gone(),
            Retried::NotTheirs => wording::not_yours_to_ask_again(),
        };
        self.once_sealed(turn, screen, Plan::say_privately(sentence)).await
    }

    async fn retried(&self, turn: &Turn, named: &str) -> Result<Retried, StoreError> {
        match named.parse() {
            Ok(of) => self.store.take_retry(of, turn).await,
            Err(_) => Ok(Retried::Gone),
        }
    }

    /// The sentence about a reel that could not be watched, with a button where it may work a little later. `named`: which of
    /// several it is.
    pub(super) fn plan_known_failure(
        turn: &Turn,
        question: &Question,
        content: &str,
        named: Option<&Shortcode>,
    ) -> Plan {
        let text = named.map_or_else(|| wording::known_failure(content), |code| wording::failure_of(code, content));
        let kept = Kept::of(question, &text);
        match is_passing(content) {
            true => Plan::Fail(asks_again(turn, text), kept),
            false => Plan::Say(Body::text(text), kept),
        }
    }
}

/// The question that an earlier turn left in the memory.
fn asked_again(named: &str, name: String, lines: Vec<crate::store::chats::Line>, failed: bool) -> Question {
    let of = |role: Role| lines.iter().find(|line| line.role == role).map(|line| line.content.clone());
    let reel = of(Role::Reel).map(|block| QuestionReel { block, transcript: String::new() });
    let question = Question::of(of(Role::Person).unwrap_or_default(), name);
    let replaces = named.parse().ok().filter(|_| failed).map(|turn| Replaced { turn, lines });
    Question { reel, replaces, ..question }
}
