//! Taking wishes back. Decides nothing about who may.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::ids::{BoardId, ChatScope, GuildId, PersonId, Shortcode};
use crate::store::{Conn, Result, Store, args, sql};

use super::slots::{give_time_back, move_to_who_waits};
use super::wait_in_line;
use crate::store::locks::QUEUE;

/// Which wishes are taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// All of one person.
    AllOf(PersonId),
    /// All of one person in one community.
    AllIn(GuildId, PersonId),
    /// Those of one board; with a person only if it is theirs.
    Board(BoardId, Option<PersonId>),
    /// Those for one reel, of one person or of everybody.
    Reel(Shortcode, Option<PersonId>),
    /// Everybody's in these chats.
    In(ChatScope),
}

impl Store {
    /// Takes wishes back. A job that nobody waits for any more leaves the line at once, or is stopped by its worker;
    /// one that waits for the spacing of who left it goes on in the slot of who still waits for it.
    /// Returns the reels taken back, each once for everyone who waited for it.
    pub async fn cancel(&self, which: &Cancelled, interval: Duration, now: Timestamp) -> Result<Vec<Shortcode>> {
        let cancelled = self.db.exclusive(&[QUEUE], async |tx| cancel(tx, which, interval, now).await).await;
        self.jobs_changed().await;
        cancelled
    }
}

#[derive(sqlx::FromRow)]
struct WishRow {
    id: String,
    job_id: String,
    shortcode: String,
    person_id: String,
}

/// The wishes that wait: `$1` a person, `$2` a board, a chat or a community, `$3` a reel.
const WAITING: &str = r"
    SELECT id, job_id, shortcode, person_id
    FROM subscriptions
    WHERE state = 'waiting'";

impl Cancelled {
    /// One statement for each index, because with all in one none would serve.
    fn wishes(&self) -> &'static str {
        match self {
            Cancelled::AllOf(_) => {
                sql!(WAITING, "AND job_id IS NOT NULL AND person_id = $1 AND $2 IS NULL AND $3 IS NULL ORDER BY id")
            }
            Cancelled::AllIn(..) => sql!(
                WAITING,
                r"AND job_id IS NOT NULL AND person_id = $1
                AND chat IN (SELECT id FROM chats WHERE guild = $2) AND $3 IS NULL
                ORDER BY id"
            ),
            Cancelled::Board(..) => sql!(
                WAITING,
                r"AND job_id IS NOT NULL AND board_id = $2 AND ($1 IS NULL OR person_id = $1) AND $3 IS NULL
                ORDER BY id"
            ),
            Cancelled::Reel(..) => sql!(
                WAITING,
                r"AND job_id IN (SELECT id FROM jobs WHERE shortcode = $3 AND state IN ('queued', 'running'))
                AND ($1 IS NULL OR person_id = $1) AND $2 IS NULL
                ORDER BY id"
            ),
            Cancelled::In(ChatScope::Chat(_)) => sql!(
                WAITING,
                r"AND job_id IS NOT NULL AND (chat = $2 OR chat LIKE $2 || '/%') AND $1 IS NULL AND $3 IS NULL
                ORDER BY id"
            ),
            Cancelled::In(ChatScope::SendsTo(_)) => sql!(
                WAITING,
                r"AND job_id IS NOT NULL AND chat = $2
                AND (
                    chat NOT LIKE 'discord:%'
                    OR board_id IN (SELECT b.id FROM boards b WHERE b.id = board_id AND b.placeholder IS NULL)
                )
                AND $1 IS NULL AND $3 IS NULL
                ORDER BY id"
            ),
            Cancelled::In(ChatScope::Guild(_)) => sql!(
                WAITING,
                r"AND job_id IS NOT NULL AND chat IN (SELECT id FROM chats WHERE guild = $2)
                AND $1 IS NULL AND $3 IS NULL
                ORDER BY id"
            ),
        }
    }
}

async fn cancel(tx: &mut Conn<'_>, which: &Cancelled, interval: Duration, now: Timestamp) -> Result<Vec<Shortcode>> {
    let (person, place, code) = match which {
        Cancelled::AllOf(person) => (Some(*person), None, None),
        Cancelled::AllIn(guild, person) => (Some(*person), Some(guild.to_string()), None),
        Cancelled::Board(board, person) => (*person, Some(board.to_string()), None),
        Cancelled::Reel(code, person) => (*person, None, Some(code)),
        Cancelled::In(ChatScope::Chat(chat) | ChatScope::SendsTo(chat)) => (None, Some(chat.to_string()), None),
        Cancelled::In(ChatScope::Guild(guild)) => (None, Some(guild.to_string()), None),
    };
    let args = args![person.map(|person| person.to_string()), place, code.map(Shortcode::as_str)];
    let wishes: Vec<WishRow> = tx.fetch_all(which.wishes(), args).await?;
    let mut codes = Vec::with_capacity(wishes.len());
    for WishRow { id, job_id: job, shortcode, person_id: left } in wishes {
        codes.push(shortcode.parse()?);
        tx.execute("UPDATE subscriptions SET state = 'cancelled' WHERE id = $1", args![id]).await?;
        let sql = "SELECT COUNT(*) FROM subscriptions WHERE job_id = $1 AND state = 'waiting'";
        let others: i64 = tx.fetch_value(sql, args![&job]).await?;
        if others > 0 {
            move_to_who_waits(tx, &job, &left, interval, now).await?;
            continue;
        }
        let sql = "UPDATE jobs SET state = 'cancelled', finished_at = $1 WHERE id = $2 AND state = 'queued'";
        if tx.execute(sql, args![now.0, &job]).await? == 1 {
            wait_in_line(tx, -1).await?;
            give_time_back(tx, &job, interval, now).await?;
        } else {
            tx.execute("UPDATE jobs SET cancel = TRUE WHERE id = $1 AND state = 'running'", args![job]).await?;
        }
    }
    Ok(codes)
}
