//! Taking wishes back. Decides nothing about who may.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::ids::{BoardId, ChatScope, GuildId, PersonId, Shortcode};
use crate::store::{Result, Store, exclusive};

use super::slots::{give_time_back, move_job, move_to_who_waits};
use super::{QUEUE, wait_in_line};

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
        let (person, place, code) = match which {
            Cancelled::AllOf(person) => (Some(*person), None, None),
            Cancelled::AllIn(guild, person) => (Some(*person), Some(guild.to_string()), None),
            Cancelled::Board(board, person) => (*person, Some(board.to_string()), None),
            Cancelled::Reel(code, person) => (*person, None, Some(code)),
            Cancelled::In(ChatScope::Chat(chat) | ChatScope::SendsTo(chat)) => (None, Some(chat.to_string()), None),
            Cancelled::In(ChatScope::Guild(guild)) => (None, Some(guild.to_string()), None),
        };
        let cancelled: Result<Vec<Shortcode>> = exclusive!(&self.db, [QUEUE], tx => {
            // One statement for each index, because with all in one none would serve.
            let wished = match which {
                Cancelled::AllOf(_) => {
                    "SELECT id, job_id, shortcode, person_id FROM subscriptions WHERE state = 'waiting' AND job_id IS NOT NULL \
                     AND person_id = $1 AND $2 IS NULL AND $3 IS NULL ORDER BY id"
                }
                Cancelled::AllIn(..) => {
                    "SELECT id, job_id, shortcode, person_id FROM subscriptions WHERE state = 'waiting' AND job_id IS NOT NULL \
                     AND person_id = $1 AND chat IN (SELECT id FROM chats WHERE guild = $2) AND $3 IS NULL ORDER BY id"
                }
                Cancelled::Board(..) => {
                    "SELECT id, job_id, shortcode, person_id FROM subscriptions WHERE state = 'waiting' AND job_id IS NOT NULL \
                     AND board_id = $2 AND ($1 IS NULL OR person_id = $1) AND $3 IS NULL ORDER BY id"
                }
                Cancelled::Reel(..) => {
                    "SELECT id, job_id, shortcode, person_id FROM subscriptions WHERE state = 'waiting' \
                     AND job_id IN (SELECT id FROM jobs WHERE shortcode = $3 AND state IN ('queued', 'running')) \
                     AND ($1 IS NULL OR person_id = $1) AND $2 IS NULL ORDER BY id"
                }
                Cancelled::In(ChatScope::Chat(_)) => {
                    "SELECT id, job_id, shortcode, person_id FROM subscriptions WHERE state = 'waiting' AND job_id IS NOT NULL \
                     AND (chat = $2 OR chat LIKE $2 || '/%') AND $1 IS NULL AND $3 IS NULL ORDER BY id"
                }
                Cancelled::In(ChatScope::SendsTo(_)) => {
                    "SELECT id, job_id, shortcode, person_id FROM subscriptions WHERE state = 'waiting' AND job_id IS NOT NULL \
                     AND chat = $2 AND (chat NOT LIKE 'discord:%' OR board_id IN (SELECT b.id FROM boards b \
                     WHERE b.id = board_id AND b.placeholder IS NULL)) AND $1 IS NULL AND $3 IS NULL ORDER BY id"
                }
                Cancelled::In(ChatScope::Guild(_)) => {
                    "SELECT id, job_id, shortcode, person_id FROM subscriptions WHERE state = 'waiting' AND job_id IS NOT NULL \
                     AND chat IN (SELECT id FROM chats WHERE guild = $2) AND $1 IS NULL AND $3 IS NULL ORDER BY id"
                }
            };
            let rows: Vec<(String, String, String, String)> = sqlx::query_as(wished)
                .bind(person.map(|person| person.to_string()))
                .bind(&place)
                .bind(code.map(Shortcode::as_str))
                .fetch_all(&mut *tx)
                .await?;
            let mut codes = Vec::with_capacity(rows.len());
            for (subscription, job, code, left) in rows {
                codes.push(code.parse()?);
                sqlx::query("UPDATE subscriptions SET state = 'cancelled' WHERE id = $1")
                    .bind(&subscription)
                    .execute(&mut *tx)
                    .await?;
                let (others,): (i64,) =
                    sqlx::query_as("SELECT COUNT(*) FROM subscriptions WHERE job_id = $1 AND state = 'waiting'")
                        .bind(&job)
                        .fetch_one(&mut *tx)
                        .await?;
                if others > 0 {
                    move_to_who_waits!(tx, &job, &left, interval, now);
                    continue;
                }
                let left = sqlx::query(
                        "UPDATE jobs SET state = 'cancelled', finished_at = $1 WHERE id = $2 AND state = 'queued'")
                    .bind(now.0)
                    .bind(&job)
                    .execute(&mut *tx)
                    .await?;
                if left.rows_affected() == 1 {
                    wait_in_line!(tx, -1);
                    give_time_back!(tx, &job, interval, now);
                } else {
                    sqlx::query("UPDATE jobs SET cancel = TRUE WHERE id = $1 AND state = 'running'")
                        .bind(&job)
                        .execute(&mut *tx)
                        .await?;
                }
            }
            Ok(codes)
        });
        self.jobs_changed().await;
        cancelled
    }
}
