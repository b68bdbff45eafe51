//! The inbox and the turns: what people did, and the answers owed for it.
//!
//! At most one turn of a person and chat is due at a time: the oldest open one. A later one sleeps (`due_at` = never)
//! until the one before it closes. Of those that are answered beside the talk one is due at a time, too: the next one
//! sleeps until the answer to the one before it is known.

mod arrival;
mod claim;
pub mod memory;

pub use self::arrival::{Arrival, MINUTE, MessageLimit, Received};
pub use self::claim::{ALONE_AFTER, Shares};

use std::time::Duration;

use sqlx::FromRow;

use crate::clock::Timestamp;
use crate::ids::{ChatId, InstanceId, PersonId, SubscriptionId, TurnId};

use self::memory::{Remembered, remember};
use super::budgets::read_guild;
use super::locks::talk_lock;
use super::renewals::{Kind, LeaseKey, Renewed};
use super::usage::{Counted, Timed, Within, count_up, time_up};
use super::{Conn, Result, Store, StoreError, args};

/// What a turn answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnKind {
    /// Messages.
    Talk,
    /// A reel whose result is known now.
    Reel(SubscriptionId),
}

/// A turn under lease. Every change names the lease (instance and attempt) and fails once it is lost.
#[derive(Clone, Debug)]
pub struct Turn {
    pub id: TurnId,
    pub kind: TurnKind,
    pub person: PersonId,
    pub chat: ChatId,
    pub reply_to: Option<String>,
    pub placeholder: Option<String>,
    pub merge_until: Timestamp,
    /// How many messages it was made of when it was claimed.
    pub inputs: i64,
    /// Answered beside the talk.
    pub aside: bool,
    /// Output had begun under an earlier attempt.
    pub sealed: bool,
    /// 1 for the first worker that takes it.
    pub attempt: i64,
    /// Whoever had it before was lost in the middle of it, or did not learn what became of a send: a part of the answer
    /// may be on screen without its id being noted.
    pub unsure: bool,
    /// How many of those who had it ended in the middle of it.
    pub holders_lost: i64,
    /// Nothing arrived in its chat when it was last tried.
    pub is_chat_gone: bool,
    pub leased_by: InstanceId,
    /// Ids of the messages that show the answer so far.
    pub shown: Vec<String>,
    /// No longer text of it stands in the first of them.
    pub shown_length: i64,
    /// The answer as JSON, when it is known and only its delivery is owed.
    pub answer: Option<String>,
    pub created_at: Timestamp,
}

/// Whether a turn may begin to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealed {
    Yes,
    /// More messages have joined; answer them all.
    Grown {
        inputs: i64,
        merge_until: Timestamp,
    },
    /// Somebody else has the turn.
    Lost,
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Answered,
    /// Its answer stands elsewhere (a board), or none is owed.
    Silent,
    /// The chat does not take messages from the bot any more.
    Undeliverable,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Outcome::Answered => "answered",
            Outcome::Silent => "silent",
            Outcome::Undeliverable => "undeliverable",
        }
    }
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The model.
    Model,
    /// The model, to somebody who asked the same before.
    Recalled,
    /// A sentence of ours: a command's, or what the line says.
    Own,
    /// A sentence that says why there is no answer.
    Failure,
}

impl Source {
    fn name(self) -> &'static str {
        match self {
            Source::Model => "model",
            Source::Recalled => "recalled",
            Source::Own => "own",
            Source::Failure => "failure",
        }
    }
}

/// What is known of how an answer was told, by whoever ends its turn.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// `None`: another worker made the answer, and was lost.
    pub source: Option<Source>,
    /// When the first of its text was on screen.
    pub first_text: Option<Timestamp>,
    /// The messages that show it, in order; empty: those that were noted on the way.
    pub shown: Vec<String>,
}

/// A line of a conversation's memory.
#[derive(Clone, Debug)]
pub struct NewMessage {
    pub role: super::chats::Role,
    pub content: String,
}

#[derive(FromRow)]
struct TurnRow {
    id: String,
    kind: String,
    person_id: String,
    chat: String,
    subscription_id: Option<String>,
    reply_to: Option<String>,
    placeholder: Option<String>,
    merge_until: i64,
    inputs: i64,
    aside: bool,
    sealed: bool,
    attempt: i64,
    unsure: bool,
    holders_lost: i64,
    shown: String,
    shown_length: i64,
    answer: Option<String>,
    created_at: i64,
    gone_since: Option<i64>,
}

impl TurnRow {
    fn turn(self, leased_by: InstanceId) -> Result<Turn> {
        let kind = match (self.kind.as_str(), self.subscription_id) {
            ("talk", None) => TurnKind::Talk,
            ("reel", Some(subscription)) => TurnKind::Reel(subscription.parse()?),
            _ => return Err(StoreError::Corrupt("turns.kind")),
        };
        Ok(Turn {
            id: self.id.parse()?,
            kind,
            person: self.person_id.parse()?,
            chat: self.chat.parse()?,
            reply_to: self.reply_to,
            placeholder: self.placeholder,
            merge_until: Timestamp(self.merge_until),
            inputs: self.inputs,
            aside: self.aside,
            sealed: self.sealed,
            attempt: self.attempt,
            unsure: self.unsure,
            holders_lost: self.holders_lost,
            is_chat_gone: self.gone_since.is_some(),
            leased_by,
            shown: serde_json::from_str(&self.shown).map_err(|_| StoreError::Corrupt("turns.shown"))?,
            shown_length: self.shown_length,
            answer: self.answer,
            created_at: Timestamp(self.created_at),
        })
    }
}

/// After a turn beside the talk, the next one of the same person and chat is due. One that somebody has had already, or
/// that waits for another try, is left alone.
async fn wake_aside(tx: &mut Conn<'_>, turn: &Turn, chat: &ChatId, now: Timestamp) -> Result<bool> {
    if !turn.aside {
        return Ok(false);
    }
    let sql = r"
        UPDATE turns
        SET due_at = $1
        WHERE due_at > $1 AND attempt = 0 AND id = (
            SELECT id
            FROM turns
            WHERE person_id = $2 AND chat = $3 AND state = 'open' AND aside
            ORDER BY id
            LIMIT 1
        )";
    Ok(tx.execute(sql, args![now.0, turn.person.to_string(), chat.to_string()]).await? > 0)
}

impl Store {
    /// Extends the lease; `false` once it is lost.
    pub async fn renew_turn(&self, turn: &Turn, until: Timestamp) -> Result<bool> {
        let lease = LeaseKey { row: turn.id.to_string(), by: turn.leased_by, attempt: turn.attempt };
        Ok(self.renew(Kind::Turn, lease, until).await? != Renewed::Lost)
    }

    /// What the turn's messages were, oldest first.
    pub async fn turn_inputs(&self, turn: TurnId) -> Result<Vec<String>> {
        let sql = r"
            SELECT payload
            FROM inbox
            WHERE turn_id = $1
            ORDER BY received_at, LENGTH(message), message";
        self.db.fetch_values(sql, args![turn.to_string()]).await
    }

    /// Output begins: from here on nothing joins the turn. Refused if it has more than `inputs` messages.
    pub async fn seal_turn(&self, turn: &Turn, inputs: i64) -> Result<Sealed> {
        #[derive(FromRow)]
        struct Inputs {
            inputs: i64,
            merge_until: i64,
            sealed: bool,
        }
        let sql = r"
            UPDATE turns
            SET sealed = (sealed OR inputs = $1)
            WHERE id = $2 AND leased_by = $3 AND attempt = $4
            RETURNING inputs, merge_until, sealed";
        let args = args![inputs, turn.id.to_string(), turn.leased_by.to_string(), turn.attempt];
        let row: Option<Inputs> = self.db.write(async |connection| connection.fetch_optional(sql, args).await).await?;
        Ok(match row {
            None => Sealed::Lost,
            Some(row) if row.sealed => Sealed::Yes,
            Some(row) => Sealed::Grown { inputs: row.inputs, merge_until: Timestamp(row.merge_until) },
        })
    }

    /// Notes which messages show the answer so far, and where it grows how long its text may be until the next such
    /// note; `false` once the lease is lost.
    pub async fn show_turn(&self, turn: &Turn, shown: &[String], length: Option<i64>) -> Result<bool> {
        let sql = r"
            UPDATE turns
            SET shown = $1, shown_length = COALESCE($5, shown_length)
            WHERE id = $2 AND leased_by = $3 AND attempt = $4 AND state <> 'closed'";
        let changed = self
            .db
            .execute(sql, args![json(shown), turn.id.to_string(), turn.leased_by.to_string(), turn.attempt, length])
            .await?;
        Ok(changed == 1)
    }

    /// The answer is known: from here on only its delivery is owed. Its lines enter the memory in the same
    /// transaction. `false` once the lease is lost.
    pub async fn answer_turn(
        &self,
        turn: &Turn,
        answer: &str,
        memory: Option<&Remembered<'_>>,
        now: Timestamp,
    ) -> Result<bool> {
        let lock = talk_lock(turn.person, &turn.chat);
        let answered = self.db.exclusive(&[lock], async |tx| answer_turn(tx, turn, answer, memory, now).await).await?;
        if answered == TurnStep::WokeNext {
            self.turns_changed();
        }
        Ok(answered != TurnStep::Lost)
    }

    /// [`Store::end_turn`] of which nothing is known.
    pub async fn close_turn(&self, turn: &Turn, outcome: Outcome, now: Timestamp) -> Result<bool> {
        self.end_turn(turn, outcome, &Told::default(), now).await
    }

    /// Ends a turn and wakes the next one of the same person and chat. `false` once the lease is lost. Which messages
    /// show the answer is noted in the same step: a note of its own before it would leave the same moment between the
    /// last send and the first row that knows of it.
    pub async fn end_turn(&self, turn: &Turn, outcome: Outcome, told: &Told, now: Timestamp) -> Result<bool> {
        if self.end_in(&turn.chat, turn, outcome, told, now).await? {
            return Ok(true);
        }
        // Its chat may have got another id since it was claimed: what waits behind it waits there.
        let chat = self.current_id(&turn.chat).await?;
        Ok(chat != turn.chat && self.end_in(&chat, turn, outcome, told, now).await?)
    }

    async fn end_in(&self, chat: &ChatId, turn: &Turn, outcome: Outcome, told: &Told, now: Timestamp) -> Result<bool> {
        let lock = talk_lock(turn.person, chat);
        let ended = self.db.exclusive(&[lock], async |tx| end_turn(tx, chat, turn, outcome, told, now).await).await?;
        if ended == TurnStep::WokeNext {
            self.turns_changed();
        }
        Ok(ended != TurnStep::Lost)
    }

    /// A reel turn waits while an earlier turn of its person and chat is open. `true` if it was put to sleep.
    ///
    /// Only for one that is awake: ids of two instances need not sort by time, and of two turns that each
    /// slept for the other none would ever be woken.
    pub async fn park_turn(&self, turn: &Turn) -> Result<bool> {
        let sql = r"
            UPDATE turns
            SET leased_by = NULL, due_at = $1
            WHERE id = $2 AND leased_by = $3 AND attempt = $4 AND EXISTS (
                SELECT 1
                FROM turns o
                WHERE o.person_id = $5 AND o.chat = $6 AND o.state <> 'closed' AND NOT o.aside
                    AND o.due_at < $1 AND o.id < $2
            )";
        let (id, leased_by) = (turn.id.to_string(), turn.leased_by.to_string());
        let (person, chat) = (turn.person.to_string(), turn.chat.to_string());
        let args = args![Timestamp::NEVER.0, id, leased_by, turn.attempt, person, chat];
        Ok(self.db.execute_alone(&talk_lock(turn.person, &turn.chat), sql, args).await? == 1)
    }

    /// How many answers are owed.
    pub async fn open_turns(&self) -> Result<i64> {
        self.db.fetch_value("SELECT COUNT(*) FROM turns WHERE state <> 'closed'", args![]).await
    }

    /// Whether nothing is owed to anybody: no turn, no board, no job.
    pub async fn is_idle(&self) -> Result<bool> {
        let sql = r"
            SELECT (SELECT COUNT(*) FROM turns WHERE state <> 'closed')
                + (SELECT COUNT(*) FROM boards WHERE state = 'open')
                + (SELECT COUNT(*) FROM jobs WHERE state IN ('queued', 'running'))";
        let busy: i64 = self.db.fetch_value(sql, args![]).await?;
        Ok(busy == 0)
    }

    /// Ends the leases of a process that is gone, and what it has reserved. Only for a database that no other process
    /// uses.
    pub async fn release_everything(&self, now: Timestamp) -> Result<()> {
        self.db
            .write(async |connection| {
                let sql = "UPDATE turns SET due_at = $1 WHERE state <> 'closed' AND leased_by IS NOT NULL";
                connection.execute(sql, args![now.0]).await?;
                // The right to write is free again; that a message may have been on its way is not forgotten.
                let sql = "UPDATE boards SET posting_until = $1 WHERE state = 'open' AND posting_until > $1";
                connection.execute(sql, args![now.0]).await?;
                connection.execute("DELETE FROM leases", args![]).await?;
                let sql = "UPDATE ledger SET reserved_until = 0 WHERE reserved_until IS NOT NULL";
                connection.execute(sql, args![]).await?;
                // How long a job has had no worker is told by when its lease ended.
                let sql = "UPDATE jobs SET leased_until = $1 WHERE state = 'running' AND leased_until > $1";
                connection.execute(sql, args![now.0]).await
            })
            .await?;
        Ok(())
    }
}

/// How a step of a turn went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TurnStep {
    /// The lease is lost, and nothing was written.
    Lost,
    Done,
    /// Done, and the next turn of the same person and chat is due.
    WokeNext,
}

impl TurnStep {
    fn done(woke_next: bool) -> TurnStep {
        if woke_next { TurnStep::WokeNext } else { TurnStep::Done }
    }
}

async fn answer_turn(
    tx: &mut Conn<'_>,
    turn: &Turn,
    answer: &str,
    memory: Option<&Remembered<'_>>,
    now: Timestamp,
) -> Result<TurnStep> {
    let sql = r"
        UPDATE turns
        SET state = 'answered', sealed = TRUE, answer = $1
        WHERE id = $2 AND leased_by = $3 AND attempt = $4 AND state = 'open'";
    let (id, leased_by) = (turn.id.to_string(), turn.leased_by.to_string());
    if tx.execute(sql, args![answer, &id, &leased_by, turn.attempt]).await? == 0 {
        // A try whose answer was lost may have done it.
        let sql = r"
            SELECT COUNT(*)
            FROM turns
            WHERE id = $1 AND leased_by = $2 AND attempt = $3 AND state = 'answered' AND answer = $4";
        let done: i64 = tx.fetch_value(sql, args![id, leased_by, turn.attempt, answer]).await?;
        return Ok(if done == 1 { TurnStep::Done } else { TurnStep::Lost });
    }
    if let Some(remembered) = memory {
        remember(tx, turn, remembered, now).await?;
    }
    Ok(TurnStep::done(wake_aside(tx, turn, &turn.chat, now).await?))
}

async fn end_turn(
    tx: &mut Conn<'_>,
    chat: &ChatId,
    turn: &Turn,
    outcome: Outcome,
    told: &Told,
    now: Timestamp,
) -> Result<TurnStep> {
    #[derive(FromRow)]
    struct TurnPlace {
        guild: Option<String>,
        spoken: Option<bool>,
    }
    let (id, leased_by) = (turn.id.to_string(), turn.leased_by.to_string());
    let shown = (!told.shown.is_empty()).then(|| json(&told.shown));
    let sql = r"
        UPDATE turns
        SET state = 'closed', outcome = $1, closed_at = $2, answer = NULL, leased_by = NULL,
            shown = COALESCE($6, shown)
        WHERE id = $3 AND leased_by = $4 AND attempt = $5 AND state <> 'closed' AND chat = $7
        RETURNING (SELECT c.guild FROM chats c WHERE c.id = turns.chat) AS guild,
            (SELECT c.spoken FROM chats c WHERE c.id = turns.chat) AS spoken";
    let args = args![outcome.name(), now.0, &id, leased_by, turn.attempt, shown, chat.to_string()];
    let place: Option<TurnPlace> = tx.fetch_optional(sql, args).await?;
    let Some(place) = place else { return Ok(TurnStep::Lost) };
    tx.execute("UPDATE inbox SET payload = '' WHERE turn_id = $1", args![id]).await?;
    if let TurnKind::Reel(subscription) = turn.kind {
        let sql = "UPDATE subscriptions SET state = 'answered' WHERE id = $1 AND state = 'answering'";
        tx.execute(sql, args![subscription.to_string()]).await?;
    }
    if outcome != Outcome::Undeliverable && place.spoken != Some(true) {
        let sql = "UPDATE chats SET spoken = TRUE WHERE id = $1 AND NOT spoken";
        tx.execute(sql, args![chat.to_string()]).await?;
    }
    let sql = r"
        UPDATE turns
        SET due_at = $1
        WHERE due_at = $2 AND id = (
            SELECT id
            FROM turns
            WHERE person_id = $3 AND chat = $4 AND state <> 'closed' AND NOT aside
            ORDER BY id
            LIMIT 1
        )";
    let args = args![now.0, Timestamp::NEVER.0, turn.person.to_string(), chat.to_string()];
    let woken = tx.execute(sql, args).await? > 0;
    let aside = wake_aside(tx, turn, chat, now).await?;
    let within = Within::new(chat, read_guild(place.guild)?);
    count_up(tx, &within, now, &counted(turn, outcome, told)).await?;
    time_up(tx, &within, now, &timed(turn, outcome, told, now)).await?;
    Ok(TurnStep::done(woken || aside))
}

/// What a turn adds to the counts.
fn counted(turn: &Turn, outcome: Outcome, told: &Told) -> Vec<(Counted, &'static str)> {
    let kind = match turn.kind {
        // An alert answers nobody.
        TurnKind::Talk if turn.inputs == 0 => return Vec::new(),
        TurnKind::Talk => Counted::Talk,
        TurnKind::Reel(_) => Counted::Reel,
    };
    let source = told.source.filter(|_| outcome == Outcome::Answered);
    std::iter::once((kind, outcome.name())).chain(source.map(|source| (Counted::Source, source.name()))).collect()
}

/// How long the model's answer took to whoever asked something; of reels the wait in the line is told.
fn timed(turn: &Turn, outcome: Outcome, told: &Told, now: Timestamp) -> Vec<(Timed, Duration)> {
    let is_answer = matches!(told.source, Some(Source::Model | Source::Recalled)) && outcome == Outcome::Answered;
    if !is_answer || turn.kind != TurnKind::Talk {
        return Vec::new();
    }
    let first = told.first_text.unwrap_or(now);
    vec![(Timed::FirstText, first.since(turn.created_at)), (Timed::Answer, now.since(turn.created_at))]
}

fn json(ids: &[String]) -> String {
    serde_json::Value::from(ids).to_string()
}
