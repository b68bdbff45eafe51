//! What an answer leaves in the memory, and the questions that a button asks once more. Owns the rows that know which
//! lines a turn left; the lines themselves are read in [`crate::store::chats`].

use sqlx::AssertSqlSafe;

use crate::clock::Timestamp;
use crate::ids::{ConversationId, SubscriptionId, TurnId};

use super::{NewMessage, Turn};
use crate::store::chats::{Line, Role};
use crate::store::locks::talk_lock;
use crate::store::{Arg, Conn, Result, Store, args, storable};

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

/// A turn that may be asked again.
#[derive(sqlx::FromRow)]
struct RetryRow {
    person_id: String,
    chat: String,
    conversation_id: String,
    first_line: String,
    last_line: String,
    failed: bool,
    /// The turn that asked it again last.
    taken_by: Option<String>,
    /// Whether its conversation is over; `None`: it is gone.
    is_over: Option<bool>,
}

#[derive(sqlx::FromRow)]
struct LineRow {
    id: String,
    role: String,
    content: String,
}

fn lines(rows: Vec<LineRow>) -> Result<Vec<Line>> {
    rows.into_iter().map(|row| Ok(Line { id: row.id, role: Role::parse(&row.role)?, content: row.content })).collect()
}

impl Store {
    /// Gives the question of an earlier turn to `turn`, which asks it once more; the same turn may take it again.
    pub async fn take_retry(&self, of: TurnId, turn: &Turn) -> Result<Retried> {
        let lock = talk_lock(turn.person, &turn.chat);
        self.db.exclusive(&[lock], async |tx| take_retry(tx, &of.to_string(), turn).await).await
    }

    /// The failed turn whose question this reel was submitted for once more, and its lines: the answer about the reel
    /// takes their place.
    pub async fn retry_of_reel(&self, subscription: SubscriptionId) -> Result<Option<(TurnId, Vec<Line>)>> {
        #[derive(sqlx::FromRow)]
        struct RetriedLine {
            turn_id: String,
            #[sqlx(flatten)]
            line: LineRow,
        }
        let sql = r"
            SELECT r.turn_id, m.id, m.role, m.content
            FROM subscriptions s
            JOIN retries r ON r.person_id = s.person_id AND r.chat = s.chat AND r.taken_by = s.turn_id AND r.failed
            JOIN messages m ON m.conversation_id = r.conversation_id AND m.turn_id = r.turn_id
                AND m.id BETWEEN r.first_line AND r.last_line
            WHERE s.id = $1
            ORDER BY m.id";
        let rows: Vec<RetriedLine> = self.db.fetch_all(sql, args![subscription.to_string()]).await?;
        let Some(first) = rows.first() else { return Ok(None) };
        let turn = first.turn_id.parse()?;
        Ok(Some((turn, lines(rows.into_iter().map(|row| row.line).collect())?)))
    }
}

async fn take_retry(tx: &mut Conn<'_>, of: &str, turn: &Turn) -> Result<Retried> {
    let sql = r"
        SELECT r.person_id, r.chat, r.conversation_id, r.first_line, r.last_line, r.failed, r.taken_by,
            (SELECT c.ended_at IS NOT NULL FROM conversations c WHERE c.id = r.conversation_id) AS is_over
        FROM retries r
        WHERE r.turn_id = $1";
    let row: Option<RetryRow> = tx.fetch_optional(sql, args![of]).await?;
    let Some(retry) = row else { return Ok(Retried::Gone) };
    if (retry.person_id, retry.chat) != (turn.person.to_string(), turn.chat.to_string()) {
        return Ok(Retried::NotTheirs);
    }
    let by = turn.id.to_string();
    if let Some(other) = retry.taken_by.filter(|other| *other != by) {
        let sql = r"
            SELECT EXISTS (SELECT 1 FROM turns WHERE id = $1 AND state <> 'closed')
                OR EXISTS (SELECT 1 FROM subscriptions WHERE turn_id = $1 AND state IN ('waiting', 'answering'))";
        let is_on_its_way: bool = tx.fetch_value(sql, args![other]).await?;
        // Of one that still counts as failed nothing came of the other turn: its reel was cancelled, say.
        if is_on_its_way || !retry.failed {
            return Ok(Retried::Already);
        }
    }
    if retry.is_over != Some(false) {
        return Ok(Retried::Gone);
    }
    let sql = r"
        SELECT id, role, content
        FROM messages
        WHERE conversation_id = $1 AND id BETWEEN $2 AND $3 AND turn_id = $4
        ORDER BY id";
    let args = args![retry.conversation_id, retry.first_line, retry.last_line, of];
    let lines = lines(tx.fetch_all(sql, args).await?)?;
    if lines.iter().all(|line| line.role == Role::Coach) {
        return Ok(Retried::Gone);
    }
    tx.execute("UPDATE retries SET taken_by = $1 WHERE turn_id = $2", args![by, of]).await?;
    Ok(Retried::Taken { lines, failed: retry.failed })
}

/// Adds the lines to a conversation, in the transaction of the answer.
pub(super) async fn remember(
    tx: &mut Conn<'_>,
    turn: &Turn,
    remembered: &Remembered<'_>,
    now: Timestamp,
) -> Result<()> {
    let (turn_id, conversation) = (turn.id.to_string(), remembered.conversation.to_string());
    if let Some(replaced) = remembered.replaces {
        for statement in REPLACE {
            tx.execute(statement, args![replaced.to_string(), &turn_id]).await?;
        }
    }
    // Each is made after the one before: they sort in this order.
    let ids: Vec<String> = remembered.lines.iter().map(|_| TurnId::new().to_string()).collect();
    if !ids.is_empty() {
        let mut args = vec![Arg::from(&conversation), Arg::from(&turn_id), Arg::from(now.0)];
        for (id, line) in ids.iter().zip(remembered.lines) {
            args.extend([Arg::from(id), Arg::from(line.role.name()), Arg::from(storable(&line.content))]);
        }
        tx.execute(AssertSqlSafe(insert(ids.len())), &args).await?;
    }
    let (Some(retry), Some(first), Some(last)) = (remembered.retry, ids.first(), ids.last()) else { return Ok(()) };
    let (person, chat, is_failed) = (turn.person.to_string(), turn.chat.to_string(), retry == Retry::Failed);
    let sql = r"
        INSERT INTO retries (turn_id, person_id, chat, conversation_id, first_line, last_line, failed, at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (turn_id) DO NOTHING";
    tx.execute(sql, args![&turn_id, &person, &chat, &conversation, first, last, is_failed, now.0]).await?;
    if is_failed {
        for statement in FORGET_OLDEST {
            tx.execute(statement, args![&person, &chat, FAILURES_KEPT]).await?;
        }
    }
    Ok(())
}

/// A failed turn's lines go, and it is no longer one that failed. `$1` that turn, `$2` the one that asked again, or
/// that answers about the reel which was submitted then.
const REPLACE: [&str; 2] = [
    r"
        DELETE FROM messages
        WHERE id IN (
            SELECT m.id
            FROM retries r
            JOIN messages m ON m.conversation_id = r.conversation_id AND m.turn_id = r.turn_id
                AND m.id BETWEEN r.first_line AND r.last_line
            WHERE r.turn_id = $1 AND r.failed AND (r.taken_by = $2 OR r.taken_by = (
                SELECT s.turn_id
                FROM turns t
                JOIN subscriptions s ON s.id = t.subscription_id
                WHERE t.id = $2
            ))
        )",
    r"
        UPDATE retries
        SET failed = FALSE
        WHERE turn_id = $1 AND failed AND (taken_by = $2 OR taken_by = (
            SELECT s.turn_id
            FROM turns t
            JOIN subscriptions s ON s.id = t.subscription_id
            WHERE t.id = $2
        ))",
];

/// The failure beyond those that are kept: its lines, then itself. Each new one pushes at most one out.
const FORGET_OLDEST: [&str; 2] = [
    r"
        DELETE FROM messages
        WHERE id IN (
            SELECT m.id
            FROM retries r
            JOIN messages m ON m.conversation_id = r.conversation_id AND m.turn_id = r.turn_id
                AND m.id BETWEEN r.first_line AND r.last_line
            WHERE r.turn_id = (
                SELECT turn_id
                FROM retries
                WHERE person_id = $1 AND chat = $2 AND failed
                ORDER BY turn_id DESC
                LIMIT 1 OFFSET $3
            )
        )",
    r"
        DELETE FROM retries
        WHERE turn_id = (
            SELECT turn_id
            FROM retries
            WHERE person_id = $1 AND chat = $2 AND failed
            ORDER BY turn_id DESC
            LIMIT 1 OFFSET $3
        )",
];

/// Adds so many lines to a conversation. `$1` the conversation, `$2` the turn, `$3` the time; then id, role and text of
/// each.
fn insert(lines: usize) -> String {
    let row = |nth| format!("(${}, $1, $2, ${}, ${}, $3)", 3 * nth + 4, 3 * nth + 5, 3 * nth + 6);
    let rows: Vec<String> = (0..lines).map(row).collect();
    format!("INSERT INTO messages (id, conversation_id, turn_id, role, content, at) VALUES {}", rows.join(", "))
}
