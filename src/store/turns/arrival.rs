//! What arrives: an event becomes a row of the inbox and a turn, or joins one, or is refused because its person sends too
//! many. Owns the counting, which is exact over all chats and instances; the sentence that is told is the caller's.

use std::fmt;
use std::time::Duration;

use super::{json, talk_lock};
use crate::clock::Timestamp;
use crate::ids::{GuildId, MessageRef, PersonId, TurnId};
use crate::store::{Result, Store, exclusive, read};

/// However many messages keep coming, a turn waits no longer than this many merge windows.
const MERGE_WINDOWS: u32 = 5;

/// A message beside the talk waits for the one before it no longer than this.
const ASIDE_WAITS: Duration = Duration::from_secs(60);

/// What a person's messages are counted over.
pub const MINUTE: Duration = Duration::from_secs(60);

/// Something a person did, on its way into the inbox.
#[derive(Debug)]
pub struct Arrival<'a> {
    pub message: &'a MessageRef,
    /// The community that the chat belongs to, if any.
    pub guild: Option<&'a GuildId>,
    pub person: PersonId,
    /// The inbound event as JSON; opaque here.
    pub payload: &'a str,
    /// Id, in the same chat, of a message that is already on screen for the answer.
    pub placeholder: Option<&'a str>,
    /// Complete in itself: joins no turn, and none joins it.
    pub atomic: bool,
    /// Answered beside the talk: it waits for no talk, and none waits for it. Of several, one is answered at a time.
    pub aside: bool,
    /// How long further messages of the same person and chat join this one.
    pub merge_window: Duration,
    /// What its person may send; `None`: as much as they like.
    pub limit: Option<MessageLimit<'a>>,
    pub at: Timestamp,
}

/// How many messages a person may send.
#[derive(Clone, Copy)]
pub struct MessageLimit<'a> {
    pub per_minute: u32,
    /// When this one was sent: the minute that it counts in.
    pub sent_at: Timestamp,
    /// What they are told once, as the JSON of an answer, given the time from which on they are heard again. `None`: the
    /// caller tells them.
    pub told: Option<&'a (dyn Fn(Timestamp) -> String + Sync)>,
}

impl fmt::Debug for MessageLimit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageLimit").field("per_minute", &self.per_minute).finish_non_exhaustive()
    }
}

/// What became of an arrival. But for the last, its row is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// It was there already.
    Duplicate,
    /// It belongs to a turn that has not said anything yet.
    Joined,
    New,
    /// Its person has sent too many. Nothing is kept of it; they are heard again from `until` on. `is_first`: they are told
    /// so now, and not again before they have kept within the limit for a minute.
    TooFast {
        until: Timestamp,
        is_first: bool,
    },
}

impl Store {
    /// Whether this was taken in before.
    pub async fn is_received(&self, message: &MessageRef) -> Result<bool> {
        let row: Option<(i64,)> = read!(&self.db, connection => sqlx::query_as("SELECT COUNT(*) FROM inbox WHERE chat = $1 AND message = $2")
            .bind(message.chat.to_string())
            .bind(&message.id)
            .fetch_optional(connection)
            .await)?;
        Ok(row.is_some_and(|(count,)| count > 0))
    }

    /// Commits an arrival to the inbox and to a turn.
    pub async fn receive(&self, arrival: Arrival<'_>) -> Result<Received> {
        let chat = arrival.message.chat.to_string();
        let person = arrival.person.to_string();
        let received: Result<Received> = exclusive!(&self.db, [talk_lock(arrival.person, &arrival.message.chat)], tx => {
            let (known, newest, beside): (Option<String>, Option<String>, Option<String>) = sqlx::query_as(
                    "SELECT (SELECT turn_id FROM inbox WHERE chat = $1 AND message = $2), \
                     (SELECT id FROM turns WHERE person_id = $3 AND chat = $1 AND state <> 'closed' AND NOT aside ORDER BY id DESC LIMIT 1), \
                     (SELECT id FROM turns WHERE person_id = $3 AND chat = $1 AND state = 'open' AND aside LIMIT 1)")
                .bind(&chat)
                .bind(&arrival.message.id)
                .bind(&person)
                .fetch_one(&mut *tx)
                .await?;
            if known.is_some() {
                return Ok(Received::Duplicate);
            }
            // With what they are told instead.
            let mut refused: Option<(Received, String)> = None;
            if let Some(limit) = &arrival.limit {
                // What was sent more than a minute before the one that is counted is of another one: what waited at a
                // platform need not come in order. A minute that follows at once on one with too many is of the same flood.
                let (since, messages, told): (i64, i64, bool) = sqlx::query_as(
                        "INSERT INTO message_rates (person_id, since, messages, told) VALUES ($1, $2, 1, FALSE) \
                         ON CONFLICT (person_id) DO UPDATE SET \
                         since = CASE WHEN message_rates.since <= $3 OR message_rates.since > $6 THEN $2 ELSE message_rates.since END, \
                         messages = CASE WHEN message_rates.since <= $3 OR message_rates.since > $6 THEN 1 ELSE message_rates.messages + 1 END, \
                         told = message_rates.told AND (message_rates.since > $3 \
                         OR (message_rates.messages > $5 AND message_rates.since > $4)) \
                         RETURNING since, messages, told")
                    .bind(&person)
                    .bind(limit.sent_at.0)
                    .bind((limit.sent_at - MINUTE).0)
                    .bind((limit.sent_at - MINUTE * 2).0)
                    .bind(i64::from(limit.per_minute))
                    .bind((limit.sent_at + MINUTE).0)
                    .fetch_one(&mut *tx)
                    .await?;
                if messages > i64::from(limit.per_minute) {
                    let until = Timestamp(since) + MINUTE;
                    let outcome = Received::TooFast { until, is_first: !told };
                    if !told {
                        sqlx::query("UPDATE message_rates SET told = TRUE WHERE person_id = $1").bind(&person).execute(&mut *tx).await?;
                    }
                    match limit.told.filter(|_| !told) {
                        Some(tell) => refused = Some((outcome, tell(until))),
                        None => return Ok(outcome),
                    }
                }
            }
            let (outcome, sentence) = match refused {
                Some((outcome, sentence)) => (outcome, Some(sentence)),
                None => (Received::New, None),
            };
            // Long past for an atomic one, so that no clock of another instance lets a message join it.
            let merge_until = if arrival.atomic { Timestamp(0) } else { arrival.at + arrival.merge_window };
            let mut joined = None;
            if let Some(turn) = &newest
                && !arrival.atomic
                && sentence.is_none()
            {
                let grown = sqlx::query(
                        "UPDATE turns SET inputs = inputs + 1, merge_until = $1 \
                         WHERE id = $2 AND state = 'open' AND kind = 'talk' AND NOT sealed AND merge_until > $3 AND created_at > $4")
                    .bind(merge_until.0)
                    .bind(turn)
                    .bind(arrival.at.0)
                    .bind((arrival.at - arrival.merge_window * MERGE_WINDOWS).0)
                    .execute(&mut *tx)
                    .await?;
                if grown.rows_affected() == 1 {
                    joined = Some(turn.clone());
                }
            }
            let outcome = if joined.is_some() { Received::Joined } else { outcome };
            let due_at = match (&sentence, arrival.aside) {
                (None, false) if newest.is_some() => Timestamp::NEVER,
                (None, true) if beside.is_some() => arrival.at + ASIDE_WAITS,
                _ => arrival.at,
            };
            let turn = match joined {
                Some(turn) => turn,
                None => {
                    let turn = TurnId::new().to_string();
                    // With a sentence it is answered already: its delivery is owed, as any final's.
                    sqlx::query(
                            "INSERT INTO turns (id, kind, state, person_id, chat, reply_to, placeholder, merge_until, inputs, \
                             aside, sealed, due_at, attempt, shown, answer, created_at) \
                             VALUES ($1, 'talk', $11, $2, $3, $4, $5, $6, 1, $7, $12, $8, 0, $13, $10, $9)")
                        .bind(&turn)
                        .bind(&person)
                        .bind(&chat)
                        .bind(&arrival.message.id)
                        .bind(arrival.placeholder)
                        .bind(merge_until.0)
                        .bind(arrival.aside || sentence.is_some())
                        .bind(due_at.0)
                        .bind(arrival.at.0)
                        .bind(&sentence)
                        .bind(if sentence.is_some() { "answered" } else { "open" })
                        .bind(sentence.is_some())
                        .bind(json(&[]))
                        .execute(&mut *tx)
                        .await?;
                    turn
                }
            };
            sqlx::query("INSERT INTO inbox (chat, message, turn_id, payload, received_at) VALUES ($1, $2, $3, $4, $5)")
                .bind(&chat)
                .bind(&arrival.message.id)
                .bind(&turn)
                .bind(if sentence.is_some() { "" } else { arrival.payload })
                .bind(arrival.at.0)
                .execute(&mut *tx)
                .await?;
            // A command has no message that a later reading of the chat could start from.
            let last_message = (!arrival.atomic).then_some(&arrival.message.id);
            sqlx::query(
                    "INSERT INTO chats (id, platform, last_message, last_at, spoken, guild) VALUES ($1, $2, $3, $4, FALSE, $5) \
                     ON CONFLICT (id) DO UPDATE SET last_message = COALESCE(excluded.last_message, chats.last_message), \
                     last_at = excluded.last_at, guild = COALESCE(excluded.guild, chats.guild)")
                .bind(&chat)
                .bind(arrival.message.chat.platform.name())
                .bind(last_message)
                .bind(arrival.at.0)
                .bind(arrival.guild.map(ToString::to_string))
                .execute(&mut *tx)
                .await?;
            Ok(outcome)
        });
        let received = received?;
        if matches!(received, Received::New | Received::TooFast { is_first: true, .. }) {
            self.turns_changed();
        }
        Ok(received)
    }
}
