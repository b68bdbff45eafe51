//! The one sender. Owns the order of sends in a chat, pacing, `retry_after`, and the promise that a final answer
//! is delivered; never decides what is said.
//!
//! Priorities: a final waits for its place and for the chat's pause, here if that is soon, otherwise in the database, so
//! that whoever answers it is free for others; progress (stream frames, boards) only tries, and gives way at once when the
//! chat is busy or paused or a final waits there, because a newer state replaces it anyway.
//!
//! The screen is fenced as the rows are: whatever belongs to leased work leaves only while its lease is surely good, which
//! is looked at after the last wait before each call.

mod pace;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use governor::DefaultDirectRateLimiter;
use governor::Quota;

use self::pace::{Final, Lately};
use super::chat::{Body, Destination, Messenger, MessengerRules, Piece, SendError};
use super::leases::{HeldTurn, Lease};
use super::text;
use crate::clock::{Clock, Timestamp};
use crate::crash;
use crate::ids::{ChatId, MessageRef, Platform, TurnId};
use crate::store::turns::Turn;
use crate::store::{Store, StoreError, waits};
use crate::telemetry::SENDS;

/// A final waits here for its place in the chat up to this long; longer in the database.
const PATIENCE: Duration = Duration::from_secs(1);

/// Nobody waits longer for whether the bot is seen at work.
const TYPING: Duration = Duration::from_secs(2);

/// Sends with an unknown outcome are repeated this often before the turn is put aside for a while.
const UNKNOWN_TRIES: u32 = 5;

/// A chat whose last send or edit is older is forgotten when there are many: longer than any allowance's span.
const KEPT: Duration = Duration::from_secs(60);

/// The platforms that are connected, and the order in each of their chats.
pub struct Outbox {
    links: HashMap<Platform, Link>,
    gates: Mutex<HashMap<ChatId, Arc<Gate>>>,
    store: Arc<Store>,
    /// The steady one: a platform's pauses and a chat's pace are this process's alone.
    clock: Clock,
    /// The one of the times in rows.
    row_clock: Clock,
}

struct Link {
    messenger: Arc<dyn Messenger>,
    /// Paces progress over the whole bot; finals are paced too but never refused.
    pace: DefaultDirectRateLimiter,
}

/// One chat's order.
#[derive(Default)]
struct Gate {
    order: tokio::sync::Mutex<Lately>,
    /// Until when the platform wants silence, in ms of the steady time.
    paused_until: AtomicI64,
    /// When progress was last shown, in ms of the steady time.
    progress_at: AtomicI64,
}

/// What became of an attempt to show progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Shown; the message's id.
    Shown(String),
    /// Not now: the chat is busy, paused or had its share, or the lease may be over. Try again with newer words.
    NotNow,
    /// The message is gone: a new one is needed.
    Gone,
    /// Nothing can be shown there any more.
    Closed,
    /// It may or may not be on screen.
    Unsure,
    /// The platform refuses it or cannot be reached: not again at once.
    Refused,
}

/// Whether a chat can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    Yes,
    No,
    /// It is known under another id.
    Elsewhere,
    NotKnown,
}

/// What became of a final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    Yes,
    /// Not before then: keep the answer and come back.
    Later(Timestamp),
    /// The same, and a part of it may be on screen without its id being known.
    Unsure(Timestamp),
    /// The chat takes nothing from the bot any more.
    Closed,
    /// It refuses this text for good.
    No,
    /// Somebody else has the turn.
    Lost,
}

impl Outbox {
    /// An outbox for the given messengers.
    pub fn new(messengers: Vec<(Platform, Arc<dyn Messenger>)>, store: Arc<Store>, clock: Clock) -> Self {
        let links = messengers
            .into_iter()
            .map(|(platform, messenger)| {
                let per_second = messenger.rules(&ChatId::new(platform, "")).per_second;
                let quota = Quota::per_second(NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN));
                // What leaves evenly may arrive in a heap: a burst of all that a second has could be one too many there.
                let quota = quota.allow_burst(NonZeroU32::new(per_second / 6 * 5).unwrap_or(NonZeroU32::MIN));
                (platform, Link { messenger, pace: DefaultDirectRateLimiter::direct(quota) })
            })
            .collect();
        Self { links, gates: Mutex::default(), store, clock: clock.steady_clock(), row_clock: clock }
    }

    /// What the chat's platform shows and allows; `None` while it is not connected here.
    pub fn rules(&self, chat: &ChatId) -> Option<MessengerRules> {
        self.links.get(&chat.platform).map(|link| link.messenger.rules(chat))
    }

    /// The platforms that are connected here.
    pub fn platforms(&self) -> Vec<Platform> {
        self.links.keys().copied().collect()
    }

    /// Shows that the bot is at work; failing is of no account.
    pub async fn typing(&self, chat: &ChatId) {
        let Some(link) = self.links.get(&chat.platform) else { return };
        if self.gate(chat).paused(self.clock.now()) || link.pace.check().is_err() {
            return;
        }
        // It may be dropped in the middle: whether it was shown is of no account either.
        let typing = tokio::time::timeout(TYPING, link.messenger.typing(chat)).await;
        if let Ok(Err(SendError::RateLimited { retry_after })) = typing {
            self.gate(chat).pause(self.clock.now() + retry_after);
        }
    }

    /// Whether the bot reaches a chat: tries by showing that it is at work.
    pub async fn reaches(&self, chat: &ChatId) -> Reached {
        let Some(link) = self.links.get(&chat.platform) else { return Reached::NotKnown };
        link.pace.until_ready().await;
        match tokio::time::timeout(TYPING, link.messenger.typing(chat)).await {
            Ok(Ok(())) => Reached::Yes,
            Ok(Err(SendError::Forbidden)) => Reached::No,
            Ok(Err(SendError::Gone)) => Reached::Elsewhere,
            Ok(Err(SendError::RateLimited { retry_after })) => {
                self.gate(chat).pause(self.clock.now() + retry_after);
                Reached::NotKnown
            }
            Ok(Err(_)) | Err(_) => Reached::NotKnown,
        }
    }

    /// Ends the wait that a turn's placeholder shows, for an answer that stands elsewhere; failing is of no account.
    pub async fn dismiss(&self, turn: &HeldTurn) {
        turn.lease.good().await;
        let (Some(link), Some(placeholder)) = (self.links.get(&turn.chat.platform), &turn.placeholder) else { return };
        let placeholder = MessageRef::new(turn.chat.clone(), placeholder);
        if let Err(error) = link.messenger.dismiss(&placeholder).await {
            tracing::debug!(chat = %turn.chat, "a placeholder stays: {error}");
        }
    }

    /// Whether a message waits for an answer of the bot's, as its platform tells; `true` where it does not tell.
    pub async fn is_unanswered(&self, message: &MessageRef) -> bool {
        let Some(link) = self.links.get(&message.chat.platform) else { return true };
        link.messenger.is_unanswered(message).await.unwrap_or_else(|error| {
            tracing::debug!(chat = %message.chat, "it is not known whether a message is answered: {error}");
            true
        })
    }

    /// Whether progress in this chat would be shown now, as far as can be seen without trying.
    pub fn has_room(&self, chat: &ChatId, is_edit: bool) -> bool {
        let Some(link) = self.links.get(&chat.platform) else { return false };
        let rules = link.messenger.rules(chat);
        let gate = self.gate(chat);
        let now = self.clock.now();
        let Ok(mut lately) = gate.order.try_lock() else { return false };
        !gate.is_too_early(&rules, is_edit, now) && lately.has_room(rules.in_chat, is_edit, None, now)
    }

    /// Tries to show progress of what is done under `lease`: edits `message`, or sends a new one named `nonce`.
    pub async fn progress(
        &self,
        to: &Destination,
        message: Option<&str>,
        piece: &Piece,
        nonce: &str,
        lease: Option<&Lease>,
    ) -> Progress {
        self.show(to, message, piece, nonce, lease, None).await
    }

    /// The same of the answer to a turn, whose end is kept room for from then on.
    pub async fn grow(&self, turn: &HeldTurn, to: &Destination, message: Option<&str>, piece: &Piece) -> Progress {
        self.show(to, message, piece, &turn.id.nonce(0), Some(&turn.lease), Some(turn.id)).await
    }

    async fn show(
        &self,
        to: &Destination,
        message: Option<&str>,
        piece: &Piece,
        nonce: &str,
        lease: Option<&Lease>,
        answer: Option<TurnId>,
    ) -> Progress {
        let Some(link) = self.links.get(&to.chat.platform) else { return Progress::NotNow };
        let gate = self.gate(&to.chat);
        let rules = link.messenger.rules(&to.chat);
        let now = self.clock.now();
        let Ok(mut lately) = gate.order.try_lock() else { return Progress::NotNow };
        crash::freeze_point(if answer.is_some() { "frame due" } else { "board due" });
        if gate.is_too_early(&rules, message.is_some(), now)
            || !lately.has_room(rules.in_chat, message.is_some(), answer, now)
            || lease.is_some_and(|lease| !lease.is_good())
            || link.pace.check().is_err()
        {
            return Progress::NotNow;
        }
        gate.progress_at.store(now.0, Ordering::Relaxed);
        let attempt = async |plain| {
            let attempt = self.attempt(link, to, message, piece, plain, nonce);
            match lease {
                Some(lease) => lease.unless_over(attempt).await.unwrap_or_else(|| Err(lease_over())),
                None => attempt.await,
            }
        };
        let mut outcome = attempt(false).await;
        lately.note(rules.in_chat, message.is_some(), None, self.clock.now());
        if outcome == Err(SendError::Unparsable) {
            outcome = attempt(true).await;
            lately.note(rules.in_chat, message.is_some(), None, self.clock.now());
        }
        if let Some(answer) = answer.filter(|_| outcome.is_ok()) {
            lately.grows(answer, self.clock.now());
        }
        count(to.chat.platform, "progress", &outcome);
        match outcome {
            Ok(id) => Progress::Shown(id),
            Err(SendError::NotModified) => Progress::Shown(message.unwrap_or_default().to_owned()),
            Err(SendError::Gone) => Progress::Gone,
            Err(SendError::Forbidden) => Progress::Closed,
            Err(SendError::RateLimited { retry_after }) => {
                gate.pause(self.clock.now() + retry_after);
                Progress::NotNow
            }
            Err(SendError::Unknown(_)) => Progress::Unsure,
            Err(SendError::Unparsable | SendError::Unreachable(_) | SendError::Failed(_)) => {
                tracing::debug!(chat = %to.chat, "progress was refused");
                Progress::Refused
            }
        }
    }

    /// Delivers the final answer of a turn: the first piece into the message that shows it so far, the others
    /// behind it. `shown` are the ids on screen and grows; each step is noted in the database. `repeat_mark` is put
    /// at the end where a repeat could not be ruled out and the platform does not recognise one.
    pub async fn deliver(
        &self,
        turn: &HeldTurn,
        body: &Body,
        shown: &mut Vec<String>,
        repeated: bool,
        repeat_mark: &str,
    ) -> Result<Delivered, StoreError> {
        let gate = self.gate(&turn.chat);
        let delivered = self.pieces(turn, body, shown, repeated, repeat_mark, &gate).await;
        // One that waits keeps its place.
        if !matches!(delivered, Ok(Delivered::Later(_))) {
            gate.order.lock().await.end(turn.id);
        }
        let due_at = |until: Timestamp| self.row_clock.at_steady(until.min(self.clock.now() + waits::TURN_PUT_OFF));
        delivered.map(|delivered| match delivered {
            Delivered::Later(until) => Delivered::Later(due_at(until)),
            Delivered::Unsure(until) => Delivered::Unsure(due_at(until)),
            Delivered::Yes | Delivered::No | Delivered::Closed | Delivered::Lost => delivered,
        })
    }

    async fn pieces(
        &self,
        turn: &HeldTurn,
        body: &Body,
        shown: &mut Vec<String>,
        repeated: bool,
        repeat_mark: &str,
        gate: &Gate,
    ) -> Result<Delivered, StoreError> {
        let Some(link) = self.links.get(&turn.chat.platform) else {
            // This instance has no such platform (any more); one that has will come for it.
            return Ok(Delivered::Later(self.clock.now() + Duration::from_secs(30)));
        };
        let rules = link.messenger.rules(&turn.chat);
        let to = Destination { chat: turn.chat.clone(), reply_to: reply_to(turn) };
        if shown.is_empty()
            && let Some(placeholder) = &turn.placeholder
        {
            shown.push(placeholder.clone());
        }
        let mut pieces = text::render(body, &rules);
        // Whatever has no message yet may have been sent without its id being noted.
        let mut marked = repeated && shown.len() < pieces.len() && !rules.dedupes_sends;
        if marked {
            pieces = render_again(body, &rules, repeat_mark, shown.len());
        }
        // What was delivered before it had to wait stands there as it should.
        let mut at = if repeated { 0 } else { gate.order.lock().await.pieces_of(turn.id).min(shown.len()) };
        while at < pieces.len() {
            // Later pieces do not repeat the reference to an ordinary message.
            let reply_to = to.reply_to.clone().filter(|_| at == 0 || turn.placeholder.is_some());
            let reply = Destination { reply_to, ..to.clone() };
            let on_screen = shown.get(at).map(String::as_str);
            match self.piece(turn, at, link, gate, &reply, on_screen, &pieces[at], repeated).await {
                Piecemeal::Done(id) => {
                    crash::point("piece sent");
                    let known = shown.get(at).is_some_and(|before| *before == id);
                    if at < shown.len() {
                        shown[at] = id;
                    } else {
                        shown.push(id);
                    }
                    at += 1;
                    // The last piece is noted by the turn's end ([`crate::store::turns::Told`]).
                    let noted = || self.store.show_turn(turn, shown, None);
                    if !known && at < pieces.len() && !self.store.insist("noting what is on screen", noted).await? {
                        return Ok(Delivered::Lost);
                    }
                }
                Piecemeal::Unsure if !rules.dedupes_sends && !marked && at >= shown.len() => {
                    marked = true;
                    let again = render_again(body, &rules, repeat_mark, at);
                    if again.len() >= pieces.len() {
                        pieces = again;
                    }
                }
                Piecemeal::Unsure => return Ok(Delivered::Unsure(self.clock.now() + Duration::from_secs(15))),
                Piecemeal::Later { until, unsure } if unsure || marked => return Ok(Delivered::Unsure(until)),
                Piecemeal::Later { until, .. } => return Ok(Delivered::Later(until)),
                Piecemeal::Closed => return Ok(Delivered::Closed),
                Piecemeal::Refused => return Ok(Delivered::No),
            }
        }
        Ok(Delivered::Yes)
    }

    /// One piece, until its fate is known.
    #[expect(clippy::too_many_arguments, reason = "what is sent, where, and as what")]
    async fn piece(
        &self,
        turn: &HeldTurn,
        at: usize,
        link: &Link,
        gate: &Gate,
        to: &Destination,
        shown: Option<&str>,
        piece: &Piece,
        repeated: bool,
    ) -> Piecemeal {
        let (nonce, lease) = (turn.id.nonce(at), &turn.lease);
        let MessengerRules { dedupes_sends: dedupes, in_chat, .. } = link.messenger.rules(&to.chat);
        let mut shown = shown;
        let mut plain = false;
        let mut bare = None;
        // A platform that recognises a repeat gives back the first message, which may hold older words.
        let mut settle = repeated && dedupes;
        let (mut unknown, mut unreachable, mut failed) = (0, 0, 0);
        loop {
            let wish = Final { turn: turn.id, person: turn.person, is_edit: shown.is_some(), pieces: at };
            // Before the chat is taken, so that nobody else there waits for the database; and again behind every wait.
            lease.good().await;
            let Ok(mut lately) = tokio::time::timeout(PATIENCE, gate.order.lock()).await else {
                return Piecemeal::Later { until: self.clock.now() + PATIENCE, unsure: unknown > 0 };
            };
            let paused_until = Timestamp(gate.paused_until.load(Ordering::Relaxed));
            let now = self.clock.now();
            let place = lately.place(in_chat, &wish, paused_until, now);
            if place > now {
                lately.keep(&wish, place);
                if place > now + PATIENCE {
                    return Piecemeal::Later { until: place, unsure: unknown > 0 };
                }
                self.clock.sleep_until(place).await;
                if gate.paused(self.clock.now()) {
                    continue;
                }
            }
            link.pace.until_ready().await;
            crash::freeze_point("piece due");
            if !lease.is_good() {
                continue;
            }
            let piece = bare.as_ref().unwrap_or(piece);
            let attempt = async |shown: Option<&str>| {
                let attempt = self.attempt(link, to, shown, piece, plain, &nonce);
                lease.unless_over(attempt).await.unwrap_or_else(|| Err(lease_over()))
            };
            let mut outcome = attempt(shown).await;
            lately.note(in_chat, shown.is_some(), Some(wish.person), self.clock.now());
            if shown.is_none()
                && settle
                && let Ok(id) = &outcome
            {
                let id = id.clone();
                let edit = Final { is_edit: true, ..wish };
                let place = lately.place(in_chat, &edit, Timestamp(0), self.clock.now());
                self.clock.sleep_until(place).await;
                if !lease.is_good() {
                    // The same send again gives the same message back.
                    continue;
                }
                outcome = attempt(Some(&id)).await.map(|_| id.clone());
                lately.note(in_chat, true, Some(wish.person), self.clock.now());
                if outcome == Err(SendError::NotModified) {
                    outcome = Ok(id);
                }
            }
            drop(lately);
            count(to.chat.platform, "final", &outcome);
            match outcome {
                Ok(id) => return Piecemeal::Done(id),
                Err(SendError::NotModified) => return Piecemeal::Done(shown.unwrap_or_default().to_owned()),
                Err(SendError::Unparsable) if !plain => plain = true,
                Err(SendError::Gone) if shown.is_some() => shown = None,
                Err(SendError::RateLimited { retry_after }) => gate.pause(self.clock.now() + retry_after),
                Err(SendError::Unknown(what)) => {
                    unknown += 1;
                    settle = dedupes;
                    tracing::warn!(chat = %to.chat, tries = unknown, "a send has an unknown outcome: {what}");
                    // An edit can be repeated at will; a send only where a repeat is recognised.
                    if unknown >= UNKNOWN_TRIES || (shown.is_none() && !dedupes) {
                        tokio::time::sleep(backoff(unknown)).await;
                        return Piecemeal::Unsure;
                    }
                    tokio::time::sleep(backoff(unknown)).await;
                }
                Err(SendError::Unreachable(what)) => {
                    unreachable += 1;
                    tracing::warn!(chat = %to.chat, tries = unreachable, "the platform cannot be reached: {what}");
                    if unreachable >= UNKNOWN_TRIES {
                        let until = self.clock.now() + Duration::from_secs(15);
                        return Piecemeal::Later { until, unsure: unknown > 0 };
                    }
                    tokio::time::sleep(backoff(unreachable)).await;
                }
                Err(SendError::Failed(what)) if failed < 2 => {
                    failed += 1;
                    plain = true;
                    tracing::warn!(chat = %to.chat, tries = failed, "a send was refused: {what}");
                    tokio::time::sleep(backoff(failed)).await;
                }
                // A bot may be allowed to write, but not to attach.
                Err(error @ (SendError::Forbidden | SendError::Failed(_))) if !piece.files.is_empty() => {
                    tracing::warn!(chat = %to.chat, "a file cannot be delivered: {error}");
                    bare = Some(text::without_files(piece));
                    (plain, failed) = (false, 0);
                }
                Err(error @ SendError::Forbidden) => {
                    tracing::warn!(chat = %to.chat, "an answer cannot be delivered: {error}");
                    return Piecemeal::Closed;
                }
                Err(error @ (SendError::Gone | SendError::Unparsable | SendError::Failed(_))) => {
                    tracing::warn!(chat = %to.chat, "an answer cannot be delivered: {error}");
                    return Piecemeal::Refused;
                }
            }
        }
    }

    async fn attempt(
        &self,
        link: &Link,
        to: &Destination,
        shown: Option<&str>,
        piece: &Piece,
        plain: bool,
        nonce: &str,
    ) -> Result<String, SendError> {
        if let Some(id) = shown {
            let message = MessageRef::new(to.chat.clone(), id);
            return link.messenger.edit(&message, piece, plain).await.map(|()| id.to_owned());
        }
        let sent = link.messenger.send(to, piece, plain, nonce).await?;
        if sent.chat != to.chat {
            self.goes_on(&to.chat, sent.chat);
        }
        Ok(sent.id)
    }

    /// A chat has another id from now on: its order, its pause and what was made in it are the same.
    fn goes_on(&self, old: &ChatId, new: ChatId) {
        let gate = self.gate(old);
        self.gates.lock().unwrap_or_else(PoisonError::into_inner).entry(new).or_insert(gate);
    }

    fn gate(&self, chat: &ChatId) -> Arc<Gate> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = gates.get(chat) {
            return gate.clone();
        }
        // A gate that nobody holds, that is not paused and was not used just now remembers nothing worth keeping.
        if gates.len() >= 4096 {
            let now = self.clock.now();
            gates.retain(|_, gate| Arc::strong_count(gate) > 1 || gate.paused(now) || gate.is_recent(now));
        }
        gates.entry(chat.clone()).or_default().clone()
    }
}

enum Piecemeal {
    Done(String),
    Unsure,
    /// Not before then.
    Later {
        until: Timestamp,
        /// It may be on screen all the same.
        unsure: bool,
    },
    Closed,
    Refused,
}

impl Gate {
    fn paused(&self, now: Timestamp) -> bool {
        self.paused_until.load(Ordering::Relaxed) > now.0
    }

    fn pause(&self, until: Timestamp) {
        self.paused_until.fetch_max(until.0, Ordering::Relaxed);
    }

    /// Whether the chat wants silence, or its progress was shown just now.
    fn is_too_early(&self, rules: &MessengerRules, is_edit: bool, now: Timestamp) -> bool {
        let interval = i64::try_from(rules.edit_interval.as_millis()).unwrap_or(0);
        self.paused(now) || (is_edit && now.0 - self.progress_at.load(Ordering::Relaxed) < interval)
    }

    fn is_recent(&self, now: Timestamp) -> bool {
        self.order.try_lock().map_or(true, |lately| lately.is_recent(now, KEPT))
    }
}

/// The pieces of a body of which piece `at` may stand there already: the last text says so, and that piece itself if
/// it is nothing but files.
fn render_again(body: &Body, rules: &MessengerRules, mark: &str, at: usize) -> Vec<Piece> {
    let mut pieces = text::render(&Body { text: format!("{}\n\n{mark}", body.text), ..body.clone() }, rules);
    if let Some(piece) = pieces.get_mut(at).filter(|piece| piece.plain.is_empty())
        && let Some(marked) = text::render(&Body::text(mark), rules).into_iter().next()
    {
        (piece.markup, piece.plain) = (marked.markup, marked.plain);
    }
    pieces
}

/// What new messages of a turn answer: what stands on screen for it, because only that knows who may see them, or else
/// the message that asked.
pub fn reply_to(turn: &Turn) -> Option<MessageRef> {
    turn.placeholder.as_ref().or(turn.reply_to.as_ref()).map(|id| MessageRef::new(turn.chat.clone(), id))
}

/// Its lease ended while the call was under way.
fn lease_over() -> SendError {
    SendError::Unknown("the lease ended before the answer came".to_owned())
}

fn backoff(tries: u32) -> Duration {
    Duration::from_millis(250 << tries.min(5))
}

fn count(platform: Platform, kind: &'static str, outcome: &Result<String, SendError>) {
    let outcome = match outcome {
        Ok(_) => "ok",
        Err(SendError::NotModified) => "not_modified",
        Err(SendError::Gone) => "gone",
        Err(SendError::Forbidden) => "forbidden",
        Err(SendError::RateLimited { .. }) => "rate_limited",
        Err(SendError::Unparsable) => "unparsable",
        Err(SendError::Unknown(_)) => "unknown",
        Err(SendError::Unreachable(_)) => "unreachable",
        Err(SendError::Failed(_)) => "failed",
    };
    metrics::counter!(SENDS, "platform" => platform.name(), "kind" => kind, "outcome" => outcome).increment(1);
}
