//! What arrives: an event becomes a row of the inbox and a turn, or joins one, or is refused because its person sends
//! too many. Owns the counting, which is exact over all chats and instances; the sentence that is told is the caller's.

use std::fmt;
use std::time::Duration;

use sqlx::FromRow;

use super::json;
use crate::clock::Timestamp;
use crate::ids::{GuildId, MessageRef, PersonId, TurnId};
use crate::store::locks::talk_lock;
use crate::store::{Conn, Result, Store, args};

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
    /// What they are told once, as the JSON of an answer, given the time from which on they are heard again. `None`:
    /// the caller tells them.
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
    /// Its person has sent too many. Nothing is kept of it; they are heard again from `until` on. `is_first`: they are
    /// told so now, and not again before they have kept within the limit for a minute.
    TooFast {
        until: Timestamp,
        is_first: bool,
    },
}

impl Store {
    /// Whether this was taken in before.
    pub async fn is_received(&self, message: &MessageRef) -> Result<bool> {
        let sql = "SELECT COUNT(*) FROM inbox WHERE chat = $1 AND message = $2";
        let count: i64 = self.db.fetch_value(sql, args![message.chat.to_string(), &message.id]).await?;
        Ok(count > 0)
    }

    /// Commits an arrival to the inbox and to a turn.
    pub async fn receive(&self, arrival: Arrival<'_>) -> Result<Received> {
        let lock = talk_lock(arrival.person, &arrival.message.chat);
        let received = self.db.exclusive(&[lock], async |tx| receive(tx, &arrival).await).await?;
        if matches!(received, Received::New | Received::TooFast { is_first: true, .. }) {
            self.turns_changed();
        }
        Ok(received)
    }
}

/// What is there already.
#[derive(FromRow)]
struct Before {
    /// The turn of the very message.
    known: Option<String>,
    /// The newest turn of the talk, and one beside it.
    newest: Option<String>,
    beside: Option<String>,
}

async fn receive(tx: &mut Conn<'_>, arrival: &Arrival<'_>) -> Result<Received> {
    let chat = arrival.message.chat.to_string();
    let person = arrival.person.to_string();
    let sql = r"
        SELECT (SELECT turn_id FROM inbox WHERE chat = $1 AND message = $2) AS known,
            (
                SELECT id
                FROM turns
                WHERE person_id = $3 AND chat = $1 AND state <> 'closed' AND NOT aside
                ORDER BY id DESC
                LIMIT 1
            ) AS newest,
            (
                SELECT id
                FROM turns
                WHERE person_id = $3 AND chat = $1 AND state = 'open' AND aside
                LIMIT 1
            ) AS beside";
    let before: Before = tx.fetch_one(sql, args![&chat, &arrival.message.id, &person]).await?;
    if before.known.is_some() {
        return Ok(Received::Duplicate);
    }
    let (outcome, sentence) = match &arrival.limit {
        None => (Received::New, None),
        Some(limit) => match count_message(tx, &person, limit).await? {
            (outcome @ Received::TooFast { .. }, None) => return Ok(outcome),
            counted => counted,
        },
    };
    // Long past for an atomic one, so that no clock of another instance lets a message join it.
    let merge_until = if arrival.atomic { Timestamp(0) } else { arrival.at + arrival.merge_window };
    let mut joined = None;
    if let Some(turn) = &before.newest
        && !arrival.atomic
        && sentence.is_none()
    {
        let sql = r"
            UPDATE turns
            SET inputs = inputs + 1, merge_until = $1
            WHERE id = $2 AND state = 'open' AND kind = 'talk' AND NOT sealed AND merge_until > $3
                AND created_at > $4";
        let oldest = arrival.at - arrival.merge_window * MERGE_WINDOWS;
        if tx.execute(sql, args![merge_until.0, turn, arrival.at.0, oldest.0]).await? == 1 {
            joined = Some(turn.clone());
        }
    }
    let outcome = if joined.is_some() { Received::Joined } else { outcome };
    let turn = match joined {
        Some(turn) => turn,
        None => {
            let due_at = match (&sentence, arrival.aside) {
                (None, false) if before.newest.is_some() => Timestamp::NEVER,
                (None, true) if before.beside.is_some() => arrival.at + ASIDE_WAITS,
                _ => arrival.at,
            };
            new_turn(tx, arrival, merge_until, due_at, sentence.as_deref()).await?
        }
    };
    let sql = r"
        INSERT INTO inbox (chat, message, turn_id, payload, received_at)
        VALUES ($1, $2, $3, $4, $5)";
    let payload = if sentence.is_some() { "" } else { arrival.payload };
    tx.execute(sql, args![&chat, &arrival.message.id, turn, payload, arrival.at.0]).await?;
    // A command has no message that a later reading of the chat could start from.
    let last_message = (!arrival.atomic).then_some(&arrival.message.id);
    let sql = r"
        INSERT INTO chats (id, platform, last_message, last_at, spoken, guild)
        VALUES ($1, $2, $3, $4, FALSE, $5)
        ON CONFLICT (id) DO UPDATE SET last_message = COALESCE(excluded.last_message, chats.last_message),
            last_at = excluded.last_at, guild = COALESCE(excluded.guild, chats.guild)";
    let (platform, guild) = (arrival.message.chat.platform.name(), arrival.guild.map(ToString::to_string));
    tx.execute(sql, args![chat, platform, last_message, arrival.at.0, guild]).await?;
    Ok(outcome)
}

/// Counts a message against its person's limit. Beyond it [`Received::TooFast`], with what they are told instead of an
/// answer.
async fn count_message(
    tx: &mut Conn<'_>,
    person: &str,
    limit: &MessageLimit<'_>,
) -> Result<(Received, Option<String>)> {
    #[derive(FromRow)]
    struct Rate {
        since: i64,
        messages: i64,
        told: bool,
    }
    // What was sent more than a minute before the one that is counted is of another one: what waited at a
    // platform need not come in order. A minute that follows at once on one with too many is of the same flood.
    let sql = r"
        INSERT INTO message_rates (person_id, since, messages, told)
        VALUES ($1, $2, 1, FALSE)
        ON CONFLICT (person_id) DO UPDATE SET
            since = CASE
                WHEN message_rates.since <= $3 OR message_rates.since > $6 THEN $2
                ELSE message_rates.since
            END,
            messages = CASE
                WHEN message_rates.since <= $3 OR message_rates.since > $6 THEN 1
                ELSE message_rates.messages + 1
            END,
            told = message_rates.told AND (
                message_rates.since > $3 OR (message_rates.messages > $5 AND message_rates.since > $4)
            )
        RETURNING since, messages, told";
    let per_minute = i64::from(limit.per_minute);
    let [before, long_before, after] =
        [limit.sent_at - MINUTE, limit.sent_at - MINUTE * 2, limit.sent_at + MINUTE].map(|at| at.0);
    let args = args![person, limit.sent_at.0, before, long_before, per_minute, after];
    let rate: Rate = tx.fetch_one(sql, args).await?;
    if rate.messages <= per_minute {
        return Ok((Received::New, None));
    }
    let until = Timestamp(rate.since) + MINUTE;
    if !rate.told {
        tx.execute("UPDATE message_rates SET told = TRUE WHERE person_id = $1", args![person]).await?;
    }
    let sentence = limit.told.filter(|_| !rate.told).map(|tell| tell(until));
    Ok((Received::TooFast { until, is_first: !rate.told }, sentence))
}

/// Makes a turn; its id. With a sentence it is answered already: its delivery is owed, as any final's.
async fn new_turn(
    tx: &mut Conn<'_>,
    arrival: &Arrival<'_>,
    merge_until: Timestamp,
    due_at: Timestamp,
    sentence: Option<&str>,
) -> Result<String> {
    let turn = TurnId::new().to_string();
    let sql = r"
        INSERT INTO turns (id, kind, state, person_id, chat, reply_to, placeholder, merge_until, inputs, aside,
            sealed, due_at, attempt, shown, answer, created_at)
        VALUES ($1, 'talk', $2, $3, $4, $5, $6, $7, 1, $8, $9, $10, 0, $11, $12, $13)";
    let (is_answered, chat) = (sentence.is_some(), arrival.message.chat.to_string());
    let state = if is_answered { "answered" } else { "open" };
    let aside = arrival.aside || is_answered;
    let args = args![
        &turn,
        state,
        arrival.person.to_string(),
        chat,
        &arrival.message.id,
        arrival.placeholder,
        merge_until.0,
        aside,
        is_answered,
        due_at.0,
        json(&[]),
        sentence,
        arrival.at.0,
    ];
    tx.execute(sql, args).await?;
    Ok(turn)
}
