//! One owed reply, from a claimed turn to its last sent piece: reads what was said, decides what it asks for, lets
//! the coach answer while the text is shown, and delivers the final. A turn that is taken up by another worker goes on
//! from what the rows say.

mod beside;
mod board;
mod door;
mod gone;
mod plan;
mod retry;
mod show;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use self::plan::{Kept, Plan};
use self::show::{Screen, ShowEnd};
use super::access::Gate;
use super::admin::Admin;
use super::board::Boards;
use super::chat::Body;
use super::coach::turn::{Answer, AnswerEnding};
use super::coach::{Answered, Coach, Live, Question, Said};
use super::late::Late;
use super::leases::{HeldTurn, Moment};
use super::outbox::{Delivered, Outbox};
use super::presence::Presence;
use super::reels::Reels;
use super::wording;
use crate::clock::{Clock, Timestamp};
use crate::crash;
use crate::ids::InstanceId;
use crate::store::chats::{Memory, Role};
use crate::store::failures::Noted;
use crate::store::turns::memory::{Remembered, Retry};
use crate::store::turns::{NewMessage, Outcome, Shares, Source, Told, Turn, TurnKind};
use crate::store::{Store, StoreError};
use crate::telemetry::{ANSWERS, FIRST_TEXT_SECONDS, Reference, TURN_SECONDS, TURNS};
use crate::upstream::Cause;

/// How long a turn is held without renewal.
pub const LEASE: Duration = Duration::from_secs(20);

/// A turn that failed so often is answered with an apology instead of being tried for ever.
const ATTEMPTS: i64 = 6;

/// Answers turns.
pub struct Replies {
    pub store: Arc<Store>,
    pub outbox: Arc<Outbox>,
    pub presence: Arc<Presence>,
    pub reels: Arc<Reels>,
    pub boards: Arc<Boards>,
    pub coach: Arc<Coach>,
    pub admin: Arc<Admin>,
    pub gate: Arc<Gate>,
    pub late: Arc<Late>,
    pub clock: Clock,
    pub instance: InstanceId,
}

/// How the work on a turn ended.
enum Done {
    /// Nothing is left to do here.
    Closed,
    /// The memory has grown too long.
    Talked,
}

impl Replies {
    /// Takes due turns, as far as the shares allow.
    pub async fn claim(&self, shares: Shares) -> Result<Vec<HeldTurn>, StoreError> {
        let asked = Moment::now(&self.clock);
        let turns = self.store.claim_turns(self.instance, &self.outbox.platforms(), asked.wall, LEASE, shares).await?;
        let held = |turn| HeldTurn::new(turn, self.store.clone(), &self.clock, LEASE, asked);
        // At once: the next claim must know of them.
        let turns: Vec<HeldTurn> = turns.into_iter().map(held).collect();
        if !turns.is_empty() {
            crash::point("turn claimed");
        }
        Ok(turns)
    }

    /// Answers a turn to its end, or leaves it to whoever comes next.
    pub async fn answer(&self, turn: HeldTurn) {
        // Outlives the work: whatever ends it in the middle of a call, the call is paid.
        let live = Live::default();
        let result = tokio::select! {
            result = self.work(&turn, &live) => Some(result),
            () = self.keep(&turn) => None,
            never = self.tell_of_outages(&turn) => match never {},
        };
        if let Err(error) = self.coach.settle_abandoned(&turn, &live).await {
            // What was reserved for it is given up in time.
            tracing::warn!(turn = %turn.id, "a call that was dropped could not be written down: {error}");
        }
        let error = match result {
            None => return tracing::warn!(turn = %turn.id, "the turn was taken over by another instance"),
            Some(Ok(Done::Closed)) => return,
            // The lease is given back: what follows is no part of the answer.
            Some(Ok(Done::Talked)) => return self.remember(&turn).await,
            Some(Err(error)) => error,
        };
        let reference = Reference::new();
        tracing::error!(turn = %turn.id, attempt = turn.attempt, %reference, "a turn failed: {error}");
        let pause = Duration::from_secs(1 << turn.attempt.clamp(0, 5));
        let again = self.clock.now() + pause;
        if let Err(error) =
            self.store.insist("giving a turn back", || self.store.release_unsure_turn(&turn, again)).await
        {
            // The lease runs out by itself.
            tracing::warn!(turn = %turn.id, "a turn could not be given back: {error}");
        }
    }

    /// Keeps the memory of a conversation short.
    async fn remember(&self, turn: &HeldTurn) {
        if let Err(error) = self.coach.summarise(turn).await {
            tracing::warn!(turn = %turn.id, "a summary could not be made: {error}");
        }
    }

    async fn work(&self, turn: &HeldTurn, live: &Live) -> Result<Done, StoreError> {
        if turn.kind != TurnKind::Talk && !turn.sealed && turn.answer.is_none() && self.store.park_turn(turn).await? {
            return Ok(Done::Closed);
        }
        // What is sealed and answered from the beginning, an alert, has not been sent before its first attempt.
        let mut screen = Screen {
            shown: turn.shown.clone(),
            unsure: turn.sealed && turn.unsure && turn.shown.is_empty() && turn.placeholder.is_none(),
            sealed: turn.sealed,
            // Begun by an earlier attempt, it may have been shown then.
            began: turn.sealed,
            shortest: usize::try_from(turn.shown_length).unwrap_or(0),
            noted: usize::try_from(turn.shown_length).unwrap_or(0),
            inputs: turn.inputs,
            merge_until: turn.merge_until,
            told: Told::default(),
        };
        if let Some(answer) = &turn.answer {
            let body: Body = serde_json::from_str(answer).map_err(|_| StoreError::Corrupt("turns.answer"))?;
            self.deliver(turn, &body, &mut screen).await?;
            return Ok(Done::Closed);
        }
        let wish = match turn.kind {
            TurnKind::Talk => None,
            TurnKind::Reel(subscription) => Some(self.store.subscription(subscription).await?),
        };
        if self.is_for_nobody(turn, wish.as_ref()).await? {
            return Ok(Done::Closed);
        }
        if let Some(wish) = &wish {
            self.take_board(turn, wish, &mut screen).await?;
        }
        if turn.attempt > ATTEMPTS {
            self.give_up(turn, wish.as_ref(), &mut screen).await?;
            return Ok(Done::Closed);
        }
        let mut run = 0;
        loop {
            let plan = match &wish {
                None => self.plan_talk(turn, &mut screen).await?,
                Some(wish) => self.plan_reel(turn, wish.clone()).await?,
            };
            crash::point("turn planned");
            match plan {
                Plan::Nothing => {
                    self.close(turn, Outcome::Silent, &screen.told).await?;
                    return Ok(Done::Closed);
                }
                Plan::Done => {
                    self.outbox.dismiss(turn).await;
                    self.close(turn, Outcome::Silent, &screen.told).await?;
                    return Ok(Done::Closed);
                }
                Plan::Again => {}
                Plan::Lost => return Ok(Done::Closed),
                Plan::Say(body, kept) => {
                    self.say(turn, body, &kept, None, &mut screen).await?;
                    return Ok(Done::Closed);
                }
                Plan::Fail(body, kept) => {
                    self.say(turn, body, &kept, Some(Retry::Failed), &mut screen).await?;
                    return Ok(Done::Closed);
                }
                Plan::Coach(question) => {
                    if let Some(done) = self.converse(turn, run, question, live, &mut screen).await? {
                        return Ok(done);
                    }
                    run += 1;
                }
            }
        }
    }

    /// Says a sentence of our own, and remembers what is kept with it.
    async fn say(
        &self,
        turn: &HeldTurn,
        body: Body,
        kept: &Kept,
        retry: Option<Retry>,
        screen: &mut Screen,
    ) -> Result<(), StoreError> {
        screen.told.source = Some(Source::Own);
        if kept.lines.is_empty() {
            return self.finish(turn, body, None, screen).await;
        }
        let read = || self.store.memory(turn.person, &turn.chat, self.clock.now());
        let conversation = self.store.insist("reading the memory", read).await?.conversation;
        let remembered = Remembered { retry, replaces: kept.replaces, ..Remembered::of(conversation, &kept.lines) };
        self.finish(turn, body, Some(remembered), screen).await
    }

    /// Lets the coach answer while the text is shown. `None` if more messages have joined and everything begins
    /// anew.
    async fn converse(
        &self,
        turn: &HeldTurn,
        run: u32,
        question: Question,
        live: &Live,
        screen: &mut Screen,
    ) -> Result<Option<Done>, StoreError> {
        let mut memory = self.store.memory(turn.person, &turn.chat, self.clock.now()).await?;
        if let Some(replaced) = &question.replaces {
            memory.lines.retain(|line| !replaced.lines.contains(line));
        }
        let common = self.coach.common(turn, &question, &memory).await?;
        if let Some(common) = &common
            && let Some(kept) = self.coach.recall(turn, common).await?
        {
            return self.give_again(turn, &question, &memory, &kept, screen).await;
        }
        live.restart(question.reel.as_ref().map(|reel| reel.transcript.clone()).unwrap_or_default());
        let answered = CancellationToken::new();
        let answer = {
            let mut showing = std::pin::pin!(self.show(turn, live, screen, &answered));
            let answer = async {
                let answer = self.coach.answer(turn, run, &question, common.as_ref(), &memory, live).await;
                answered.cancel();
                answer
            };
            tokio::select! {
                answer = answer => {
                    // A send that is under way must come to its end: dropped, it might be on screen all the same.
                    match showing.await? {
                        ShowEnd::Answered => Some(answer?),
                        ShowEnd::Grown => None,
                        ShowEnd::Lost => return Ok(Some(Done::Closed)),
                    }
                }
                end = &mut showing => match end? {
                    ShowEnd::Answered | ShowEnd::Grown => None,
                    ShowEnd::Lost => return Ok(Some(Done::Closed)),
                },
            }
        };
        let Some(answer) = answer else {
            self.coach.settle_abandoned(turn, live).await?;
            return Ok(None);
        };
        crash::point("turn answered by the model");
        match self.seal(turn, screen).await? {
            None | Some(ShowEnd::Answered) => {}
            Some(ShowEnd::Grown) => return Ok(None),
            Some(ShowEnd::Lost) => return Ok(Some(Done::Closed)),
        }
        let (text, remembered) = match answer {
            Said::Kept(kept) => return self.give_again(turn, &question, &memory, &kept, screen).await,
            Said::Answered(answered) => {
                metrics::counter!(ANSWERS, "source" => "model").increment(1);
                if let Some(common) = &common
                    && let Err(error) = self.coach.keep(common, &answered).await
                {
                    tracing::warn!(turn = %turn.id, "an answer could not be kept for others: {error}");
                }
                let Answered { answer: Answer { text, ending, .. }, sparing, .. } = answered;
                let behind = match ending {
                    AnswerEnding::Whole => None,
                    AnswerEnding::LengthLimit => Some(wording::length_limit()),
                    AnswerEnding::BrokeOff(failure) => {
                        let reference = Reference::new();
                        if !matches!(failure.cause, Cause::OverBudget(_) | Cause::Crowded { .. }) {
                            tracing::warn!(turn = %turn.id, %reference, "an answer broke off: {failure}");
                            let detail = format!("broke off: {failure}");
                            self.note_failure(turn, &reference, failure.cause.name(), detail).await;
                        }
                        Some(wording::broke_off(&failure.cause, &reference, self.clock.now()))
                    }
                };
                let sparing = match sparing {
                    Some(standing) => Some(wording::sparing(&standing)),
                    None => {
                        let nearly_used = || self.admin.nearly_used(turn, self.clock.now());
                        self.store.insist("reading a budget", nearly_used).await?
                    }
                };
                let parts = [Some(text.clone()), behind, sparing];
                (parts.into_iter().flatten().collect::<Vec<_>>().join("\n\n"), text)
            }
            Said::Failed(failure) => {
                self.apologise(turn, &question, &memory, &failure, screen).await?;
                return Ok(Some(Done::Closed));
            }
        };
        let mut lines = question.lines();
        lines.push(NewMessage { role: Role::Coach, content: remembered });
        screen.told.source = Some(Source::Model);
        let is_long = self.coach.is_long(&memory, &lines);
        let body = Body::text(question.below_transcript(text));
        self.finish(turn, body, Some(question.remembered(&memory, &lines)), screen).await?;
        if !screen.began {
            metrics::histogram!(FIRST_TEXT_SECONDS).record(self.clock.now().since(turn.created_at));
        }
        Ok(Some(if is_long { Done::Talked } else { Done::Closed }))
    }

    /// Gives an answer that is known from before.
    async fn give_again(
        &self,
        turn: &HeldTurn,
        question: &Question,
        memory: &Memory,
        kept: &str,
        screen: &mut Screen,
    ) -> Result<Option<Done>, StoreError> {
        match self.seal(turn, screen).await? {
            None | Some(ShowEnd::Answered) => {}
            Some(ShowEnd::Grown) => return Ok(None),
            Some(ShowEnd::Lost) => return Ok(Some(Done::Closed)),
        }
        metrics::counter!(ANSWERS, "source" => "cache").increment(1);
        screen.told.source = Some(Source::Recalled);
        let mut lines = question.lines();
        lines.push(NewMessage { role: Role::Coach, content: kept.to_owned() });
        let remembered = Remembered { retry: Some(Retry::Recalled), ..question.remembered(memory, &lines) };
        self.finish(turn, wording::from_memory(kept, turn.id), Some(remembered), screen).await?;
        Ok(Some(Done::Closed))
    }

    /// Notes why a turn was not answered as it should be, for an operator who is told the code.
    async fn note_failure(&self, turn: &Turn, reference: &Reference, cause: &str, detail: String) {
        let (part, subject) = ("answer".into(), turn.id.to_string());
        let (reference, at) = (reference.to_string(), self.clock.now());
        let noted = Noted { reference, at, part, subject, cause: cause.into(), detail };
        if let Err(error) = self.store.note_failure(&noted).await {
            tracing::warn!(turn = %turn.id, "a failure could not be noted: {error}");
        }
    }

    /// Stores the answer, with what the conversation remembers of it, then delivers it.
    async fn finish(
        &self,
        turn: &HeldTurn,
        body: Body,
        remembered: Option<Remembered<'_>>,
        screen: &mut Screen,
    ) -> Result<(), StoreError> {
        let answer = serde_json::to_string(&body).unwrap_or_default();
        let store = || self.store.answer_turn(turn, &answer, remembered.as_ref(), self.clock.now());
        if !self.store.insist("storing an answer", store).await? {
            return Ok(());
        }
        crash::point("answer stored");
        self.deliver(turn, &body, screen).await
    }

    async fn deliver(&self, turn: &HeldTurn, body: &Body, screen: &mut Screen) -> Result<(), StoreError> {
        let repeated = screen.unsure || (turn.answer.is_some() && turn.unsure);
        match self.outbox.deliver(turn, body, &mut screen.shown, repeated, &wording::maybe_repeated()).await? {
            Delivered::Yes => {
                crash::point("answer sent");
                screen.told.shown.clone_from(&screen.shown);
                self.close(turn, Outcome::Answered, &screen.told).await
            }
            Delivered::Closed => self.leave(turn, &screen.told).await,
            Delivered::No => self.close(turn, Outcome::Undeliverable, &screen.told).await,
            Delivered::Later(at) => {
                // Its answer waits for its place: at least it is seen that there will be one.
                if screen.shown.is_empty() && turn.lease.is_good() {
                    self.outbox.typing(&turn.chat).await;
                }
                self.give_back(turn, &screen.shown, at, screen.unsure).await
            }
            Delivered::Unsure(at) => self.give_back(turn, &screen.shown, at, true).await,
            Delivered::Lost => Ok(()),
        }
    }

    /// Gives a turn back whose answer is known, with what is on screen of it.
    async fn give_back(&self, turn: &Turn, shown: &[String], at: Timestamp, unsure: bool) -> Result<(), StoreError> {
        self.store.insist("noting what is on screen", || self.store.show_turn(turn, shown, None)).await?;
        let given_back = async || match unsure {
            true => self.store.release_unsure_turn(turn, at).await,
            false => self.store.release_turn(turn, at).await,
        };
        self.store.insist("giving a turn back", given_back).await.map(|_| ())
    }

    async fn close(&self, turn: &Turn, outcome: Outcome, told: &Told) -> Result<(), StoreError> {
        let now = self.clock.now();
        if self.store.insist("closing a turn", || self.store.end_turn(turn, outcome, told, now)).await? {
            crash::point("turn closed");
            let kind = match turn.kind {
                TurnKind::Talk if turn.inputs == 0 => "alert",
                TurnKind::Talk => "talk",
                TurnKind::Reel(_) => "reel",
            };
            let outcome = match outcome {
                Outcome::Answered => "answered",
                Outcome::Silent => "silent",
                Outcome::Undeliverable => "undeliverable",
            };
            let took_ms = u64::try_from(now.since(turn.created_at).as_millis()).unwrap_or(u64::MAX);
            tracing::info!(turn = %turn.id, chat = %turn.chat, kind, outcome, took_ms, "a turn is closed");
            metrics::counter!(TURNS, "kind" => kind, "outcome" => outcome).increment(1);
            metrics::histogram!(TURN_SECONDS, "kind" => kind).record(now.since(turn.created_at));
        }
        Ok(())
    }
}
