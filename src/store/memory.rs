//! What an answer leaves in the memory, and the questions that a button asks once more. Owns the rows that know which
//! lines a turn left; the lines themselves are read in [`super::chats`].

use crate::ids::{ConversationId, SubscriptionId, TurnId};

use super::chats::{Line, Role};
use super::turns::{NewMessage, Turn, talk_lock};
use super::{Result, Store, exclusive, read};

/// Failed questions of one person in one chat whose lines are kept, so that the memory of somebody who gets nothing but
/// failures stays small.
pub(super) const FAILURES_KEPT: i64 = 20;

/// What enters a conversation's memory with an answer, in the same transaction.
#[derive(Clone, Debug)]
pub struct Remembered<'a> {
    pub conversation: ConversationId,
    pub lines: &'a [NewMessage],
    /// A button under the answer may ask the question once more.
    pub retry: Option<Retry>,
    /// The failed turn that these lines take the place of: it asked the same.
    pub replaces: Option<TurnId>,
}

impl<'a> Remembered<'a> {
    /// Lines, and nothing else.
    pub fn of(conversation: ConversationId, lines: &'a [NewMessage]) -> Self {
        Self { conversation, lines, retry: None, replaces: None }
    }
}

/// Why a question may be asked once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// There was no answer.
    Failed,
    /// The answer was one that others were given before.
    Recalled,
}

/// What there is to ask once more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retried {
    /// What the question and its answer left, which is this turn's now: with `failed` its own lines are to replace it.
    Taken { lines: Vec<Line>, failed: bool },
    /// Another turn has asked it again, or is about to.
    Already,
    /// It is not kept any more, or its conversation is over.
    Gone,
    /// Somebody else asked it, or it was asked elsewhere.
    NotTheirs,
}

/// Of a turn that may be asked again: person, chat, conversation, first and last line, whether it failed, who has taken
/// it, whether its conversation is over.
type RetryRow = (String, String, String, String, String, bool, Option<String>, Option<bool>);

impl Store {
    /// Gives the question of an earlier turn to `turn`, which asks it once more; the same turn may take it again.
    pub async fn take_retry(&self, of: TurnId, turn: &Turn) -> Result<Retried> {
        let (person, chat, by) = (turn.person.to_string(), turn.chat.to_string(), turn.id.to_string());
        exclusive!(&self.db, [talk_lock(turn.person, &turn.chat)], tx => {
            let row: Option<RetryRow> = sqlx::query_as(
                    "SELECT r.person_id, r.chat, r.conversation_id, r.first_line, r.last_line, r.failed, r.taken_by, \
                     (SELECT c.ended_at IS NOT NULL FROM conversations c WHERE c.id = r.conversation_id) \
                     FROM retries r WHERE r.turn_id = $1")
                .bind(of.to_string())
                .fetch_optional(&mut *tx)
                .await?;
            let Some((asked_by, asked_in, conversation, first, last, failed, taken_by, is_over)) = row else {
                return Ok(Retried::Gone);
            };
            if (asked_by, asked_in) != (person, chat) {
                return Ok(Retried::NotTheirs);
            }
            if let Some(other) = taken_by.filter(|other| *other != by) {
                let (is_on_its_way,): (bool,) = sqlx::query_as(
                        "SELECT EXISTS (SELECT 1 FROM turns WHERE id = $1 AND state <> 'closed') OR EXISTS \
                         (SELECT 1 FROM subscriptions WHERE turn_id = $1 AND state IN ('waiting', 'answering'))")
                    .bind(other)
                    .fetch_one(&mut *tx)
                    .await?;
                // Of one that still counts as failed nothing came of the other turn: its reel was cancelled, say.
                if is_on_its_way || !failed {
                    return Ok(Retried::Already);
                }
            }
            if is_over != Some(false) {
                return Ok(Retried::Gone);
            }
            let rows: Vec<(String, String, String)> = sqlx::query_as(
                    "SELECT id, role, content FROM messages WHERE conversation_id = $1 AND id BETWEEN $2 AND $3 \
                     AND turn_id = $4 ORDER BY id")
                .bind(conversation)
                .bind(first)
                .bind(last)
                .bind(of.to_string())
                .fetch_all(&mut *tx)
                .await?;
            let lines = rows.into_iter().map(|(id, role, content)| Ok(Line { id, role: Role::parse(&role)?, content }));
            let lines = lines.collect::<Result<Vec<_>>>()?;
            if lines.iter().all(|line| line.role == Role::Coach) {
                return Ok(Retried::Gone);
            }
            sqlx::query("UPDATE retries SET taken_by = $1 WHERE turn_id = $2")
                .bind(by)
                .bind(of.to_string())
                .execute(&mut *tx)
                .await?;
            Ok(Retried::Taken { lines, failed })
        })
    }

    /// The failed turn whose question this reel was submitted for once more, and its lines: the answer about the reel takes
    /// their place.
    pub async fn retry_of_reel(&self, subscription: SubscriptionId) -> Result<Option<(TurnId, Vec<Line>)>> {
        let rows: Vec<(String, String, String, String)> = read!(&self.db, connection => sqlx::query_as(
                "SELECT r.turn_id, m.id, m.role, m.content FROM subscriptions s \
                 JOIN retries r ON r.person_id = s.person_id AND r.chat = s.chat AND r.taken_by = s.turn_id AND r.failed \
                 JOIN messages m ON m.conversation_id = r.conversation_id AND m.id BETWEEN r.first_line AND r.last_line \
                 AND m.turn_id = r.turn_id WHERE s.id = $1 ORDER BY m.id")
            .bind(subscription.to_string())
            .fetch_all(connection)
            .await)?;
        let Some((turn, ..)) = rows.first() else { return Ok(None) };
        let turn = turn.parse()?;
        let lines = rows.into_iter().map(|(_, id, role, content)| Ok(Line { id, role: Role::parse(&role)?, content }));
        Ok(Some((turn, lines.collect::<Result<Vec<_>>>()?)))
    }
}

/// Adds the lines to a conversation, in the transaction of the answer.
macro_rules! remember {
    ($tx:ident, $turn:expr, $remembered:expr, $now:expr) => {{
        let (turn, remembered): (&$crate::store::turns::Turn, &$crate::store::memory::Remembered<'_>) =
            ($turn, $remembered);
        if let Some(replaced) = remembered.replaces {
            for statement in $crate::store::memory::REPLACE {
                sqlx::query(statement).bind(replaced.to_string()).bind(turn.id.to_string()).execute(&mut *$tx).await?;
            }
        }
        // Each is made after the one before: they sort in this order.
        let ids: Vec<String> = remembered.lines.iter().map(|_| $crate::ids::TurnId::new().to_string()).collect();
        if !ids.is_empty() {
            let mut query = sqlx::query(sqlx::AssertSqlSafe($crate::store::memory::insert(ids.len())))
                .bind(remembered.conversation.to_string())
                .bind(turn.id.to_string())
                .bind($now.0);
            for (id, line) in ids.iter().zip(remembered.lines) {
                query = query.bind(id).bind(line.role.name()).bind($crate::store::storable(&line.content));
            }
            query.execute(&mut *$tx).await?;
        }
        if let (Some(retry), Some(first), Some(last)) = (remembered.retry, ids.first(), ids.last()) {
            let is_failed = retry == $crate::store::memory::Retry::Failed;
            sqlx::query(
                "INSERT INTO retries (turn_id, person_id, chat, conversation_id, first_line, last_line, failed, at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (turn_id) DO NOTHING",
            )
            .bind(turn.id.to_string())
            .bind(turn.person.to_string())
            .bind(turn.chat.to_string())
            .bind(remembered.conversation.to_string())
            .bind(first)
            .bind(last)
            .bind(is_failed)
            .bind($now.0)
            .execute(&mut *$tx)
            .await?;
            if is_failed {
                for statement in $crate::store::memory::FORGET_OLDEST {
                    sqlx::query(statement)
                        .bind(turn.person.to_string())
                        .bind(turn.chat.to_string())
                        .bind($crate::store::memory::FAILURES_KEPT)
                        .execute(&mut *$tx)
                        .await?;
                }
            }
        }
    }};
}
pub(super) use remember;

/// A failed turn's lines go, and it is no longer one that failed. `$1` that turn, `$2` the one that asked again, or that
/// answers about the reel which was submitted then.
pub(super) const REPLACE: [&str; 2] = [
    "DELETE FROM messages WHERE id IN (SELECT m.id FROM retries r JOIN messages m \
     ON m.conversation_id = r.conversation_id AND m.id BETWEEN r.first_line AND r.last_line AND m.turn_id = r.turn_id \
     WHERE r.turn_id = $1 AND r.failed AND (r.taken_by = $2 OR r.taken_by = (SELECT s.turn_id FROM turns t \
     JOIN subscriptions s ON s.id = t.subscription_id WHERE t.id = $2)))",
    "UPDATE retries SET failed = FALSE WHERE turn_id = $1 AND failed AND (taken_by = $2 OR taken_by = \
     (SELECT s.turn_id FROM turns t JOIN subscriptions s ON s.id = t.subscription_id WHERE t.id = $2))",
];

/// The failure beyond those that are kept: its lines, then itself. Each new one pushes at most one out.
pub(super) const FORGET_OLDEST: [&str; 2] = [
    "DELETE FROM messages WHERE id IN (SELECT m.id FROM retries r JOIN messages m \
     ON m.conversation_id = r.conversation_id AND m.id BETWEEN r.first_line AND r.last_line AND m.turn_id = r.turn_id \
     WHERE r.turn_id = (SELECT turn_id FROM retries WHERE person_id = $1 AND chat = $2 AND failed \
     ORDER BY turn_id DESC LIMIT 1 OFFSET $3))",
    "DELETE FROM retries WHERE turn_id = (SELECT turn_id FROM retries WHERE person_id = $1 AND chat = $2 AND failed \
     ORDER BY turn_id DESC LIMIT 1 OFFSET $3)",
];

/// Adds so many lines to a conversation. `$1` the conversation, `$2` the turn, `$3` the time; then id, role and text of
/// each.
pub(super) fn insert(lines: usize) -> String {
    let row = |nth| format!("(${}, $1, $2, ${}, ${}, $3)", 3 * nth + 4, 3 * nth + 5, 3 * nth + 6);
    let rows: Vec<String> = (0..lines).map(row).collect();
    format!("INSERT INTO messages (id, conversation_id, turn_id, role, content, at) VALUES {}", rows.join(", "))
}
