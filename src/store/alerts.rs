//! How the alerts stand, and what they say. Owns their rows, and that a change of one and the messages that tell of it are
//! one transaction; never decides what is an alert.

use crate::clock::Timestamp;
use crate::ids::{ChatId, PersonId};

use super::{Result, Store, exclusive, read};

/// One alert that is on its way, or was told.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertRow {
    pub rule: String,
    /// Empty for the whole bot.
    pub subject: String,
    pub raised_at: Option<Timestamp>,
    pub turning_since: Option<Timestamp>,
    pub since: Timestamp,
    pub worst: f64,
    pub seen_at: Timestamp,
}

/// A mark that a budget has passed and the alert chats have not heard of.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Mark {
    /// A scope's name.
    pub scope: String,
    /// A day (2026-11-24) or a month (2026-11).
    pub period: String,
    pub micro_usd: i64,
    #[sqlx(rename = "alerted")]
    pub percent: i64,
}

/// How everything stands from now on, and what is to be said of it.
#[derive(Clone, Debug, Default)]
pub struct Judged {
    pub rows: Vec<AlertRow>,
    /// Answers as JSON, each for every alert chat.
    pub says: Vec<String>,
}

type Row = (String, String, Option<i64>, Option<i64>, i64, f64, i64);

/// Looked at every few seconds, in a table that only grows.
pub const NEW_MARKS: &str =
    "SELECT scope, period, micro_usd, alerted FROM spending WHERE alerted > announced ORDER BY scope, period LIMIT $1";

/// Marks taken up at a time.
const MARKS: i64 = 20;

/// Owes each of these answers, as JSON, to each alert chat. Part of a transaction.
macro_rules! owe {
    ($tx:ident, $chats:expr, $says:expr, $now:expr) => {
        for (said, answer) in $says.iter().enumerate() {
            for (person, chat) in $chats {
                // A turn that is answered already: its delivery is owed, as any final's.
                sqlx::query($crate::store::alerts::OWE)
                    .bind($crate::ids::TurnId::new().to_string())
                    .bind(person.to_string())
                    .bind(chat.to_string())
                    // In their order.
                    .bind($now.0 - i64::try_from($says.len() - said).unwrap_or(0))
                    .bind(answer)
                    .bind($now.0)
                    .execute(&mut *$tx)
                    .await?;
            }
        }
    };
}
pub(super) use owe;

/// A configured chat that got another id is told under that one.
pub(super) const OWE: &str = "INSERT INTO turns (id, kind, state, person_id, chat, merge_until, inputs, aside, sealed, due_at, \
     attempt, shown, answer, created_at) \
     VALUES ($1, 'talk', 'answered', $2, COALESCE((SELECT new_id FROM moved_chats WHERE old_id = $3), $3), 0, 0, TRUE, TRUE, \
     $4, 0, '[]', $5, $6)";

impl Store {
    /// Lets `decide` look at how the alerts stand and at the budgets' new marks, and writes what it says: each change and
    /// the messages of it are committed together, so that every change is told once, whoever dies. `chats`: who is told.
    pub async fn judge(
        &self,
        chats: &[(PersonId, ChatId)],
        now: Timestamp,
        decide: impl FnOnce(&[AlertRow], &[Mark]) -> Judged,
    ) -> Result<()> {
        let said: Result<bool> = exclusive!(&self.db, ["alerts"], tx => {
            let stood: Vec<Row> = sqlx::query_as(
                    "SELECT rule, subject, raised_at, turning_since, since, worst, seen_at FROM alerts ORDER BY rule, subject")
                .fetch_all(&mut *tx)
                .await?;
            let stood: Vec<AlertRow> = stood.into_iter().map(row).collect();
            let marks: Vec<Mark> = sqlx::query_as(NEW_MARKS).bind(MARKS).fetch_all(&mut *tx).await?;
            let Judged { rows, says } = decide(&stood, &marks);
            for gone in stood.iter().filter(|old| !rows.iter().any(|new| old.is_of(new))) {
                sqlx::query("DELETE FROM alerts WHERE rule = $1 AND subject = $2")
                    .bind(&gone.rule)
                    .bind(&gone.subject)
                    .execute(&mut *tx)
                    .await?;
            }
            for new in rows.iter().filter(|new| !stood.contains(new)) {
                sqlx::query(
                        "INSERT INTO alerts (rule, subject, raised_at, turning_since, since, worst, seen_at) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (rule, subject) DO UPDATE SET \
                         raised_at = excluded.raised_at, turning_since = excluded.turning_since, since = excluded.since, \
                         worst = excluded.worst, seen_at = excluded.seen_at")
                    .bind(&new.rule)
                    .bind(&new.subject)
                    .bind(new.raised_at.map(|at| at.0))
                    .bind(new.turning_since.map(|at| at.0))
                    .bind(new.since.0)
                    .bind(new.worst)
                    .bind(new.seen_at.0)
                    .execute(&mut *tx)
                    .await?;
            }
            for mark in &marks {
                sqlx::query("UPDATE spending SET announced = $1 WHERE scope = $2 AND period = $3")
                    .bind(mark.percent)
                    .bind(&mark.scope)
                    .bind(&mark.period)
                    .execute(&mut *tx)
                    .await?;
            }
            owe!(tx, chats, says, now);
            Ok(!says.is_empty())
        });
        if said? {
            self.turns_changed();
        }
        Ok(())
    }

    /// How many alerts of each rule are raised.
    pub async fn raised_alerts(&self) -> Result<Vec<(String, i64)>> {
        Ok(read!(&self.db, connection => sqlx::query_as(
                "SELECT rule, COUNT(*) FROM alerts WHERE raised_at IS NOT NULL GROUP BY rule")
            .fetch_all(connection)
            .await)?)
    }
}

impl AlertRow {
    fn is_of(&self, other: &AlertRow) -> bool {
        self.rule == other.rule && self.subject == other.subject
    }
}

fn row((rule, subject, raised_at, turning_since, since, worst, seen_at): Row) -> AlertRow {
    AlertRow {
        rule,
        subject,
        raised_at: raised_at.map(Timestamp),
        turning_since: turning_since.map(Timestamp),
        since: Timestamp(since),
        worst,
        seen_at: Timestamp(seen_at),
    }
}
