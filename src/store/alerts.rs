//! How the alerts stand, and what they say. Owns their rows, and that a change of one and the messages that tell of it
//! are one transaction; never decides what is an alert.

use crate::clock::Timestamp;
use crate::ids::{ChatId, PersonId, TurnId};

use super::{Conn, Result, Store, args};

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

#[derive(sqlx::FromRow)]
struct StoredAlert {
    rule: String,
    subject: String,
    raised_at: Option<i64>,
    turning_since: Option<i64>,
    since: i64,
    worst: f64,
    seen_at: i64,
}

/// Looked at every few seconds, in a table that only grows.
pub const NEW_MARKS: &str = r"
    SELECT scope, period, micro_usd, alerted
    FROM spending
    WHERE alerted > announced
    ORDER BY scope, period
    LIMIT $1";

/// Marks taken up at a time.
const MARKS: i64 = 20;

/// Owes each of these answers, as JSON, to each alert chat. A configured chat that got another id is told under that
/// one. Part of a transaction.
pub(super) async fn owe(
    tx: &mut Conn<'_>,
    chats: &[(PersonId, ChatId)],
    says: &[String],
    now: Timestamp,
) -> Result<()> {
    // A turn that is answered already: its delivery is owed, as any final's.
    let sql = r"
        INSERT INTO turns (id, kind, state, person_id, chat, merge_until, inputs, aside, sealed, due_at, attempt, shown,
            answer, created_at)
        VALUES ($1, 'talk', 'answered', $2, COALESCE((SELECT new_id FROM moved_chats WHERE old_id = $3), $3), 0, 0,
            TRUE, TRUE, $4, 0, '[]', $5, $6)";
    for (nth, answer) in says.iter().enumerate() {
        // In their order.
        let due_at = now.0 - i64::try_from(says.len() - nth).unwrap_or(0);
        for (person, chat) in chats {
            let id = TurnId::new().to_string();
            tx.execute(sql, args![id, person.to_string(), chat.to_string(), due_at, answer, now.0]).await?;
        }
    }
    Ok(())
}

impl Store {
    /// Lets `decide` look at how the alerts stand and at the budgets' new marks, and writes what it says: each change
    /// and the messages of it are committed together, so that every change is told once, whoever dies. `chats`: who is
    /// told.
    pub async fn judge(
        &self,
        chats: &[(PersonId, ChatId)],
        now: Timestamp,
        decide: impl FnOnce(&[AlertRow], &[Mark]) -> Judged,
    ) -> Result<()> {
        let judge = async |tx: &mut Conn<'_>| {
            let sql = r"
                SELECT rule, subject, raised_at, turning_since, since, worst, seen_at
                FROM alerts
                ORDER BY rule, subject";
            let stood: Vec<StoredAlert> = tx.fetch_all(sql, args![]).await?;
            let stood: Vec<AlertRow> = stood.into_iter().map(row).collect();
            let marks: Vec<Mark> = tx.fetch_all(NEW_MARKS, args![MARKS]).await?;
            let judged = decide(&stood, &marks);
            write_judged(tx, &stood, &marks, &judged).await?;
            owe(tx, chats, &judged.says, now).await?;
            Ok(!judged.says.is_empty())
        };
        if self.db.exclusive(&["alerts"], judge).await? {
            self.turns_changed();
        }
        Ok(())
    }

    /// How many alerts of each rule are raised.
    pub async fn raised_alerts(&self) -> Result<Vec<(String, i64)>> {
        #[derive(sqlx::FromRow)]
        struct Raised {
            rule: String,
            alerts: i64,
        }
        let sql = "SELECT rule, COUNT(*) AS alerts FROM alerts WHERE raised_at IS NOT NULL GROUP BY rule";
        let rows: Vec<Raised> = self.db.fetch_all(sql, args![]).await?;
        Ok(rows.into_iter().map(|row| (row.rule, row.alerts)).collect())
    }
}

impl AlertRow {
    fn is_of(&self, other: &AlertRow) -> bool {
        self.rule == other.rule && self.subject == other.subject
    }
}

fn row(row: StoredAlert) -> AlertRow {
    AlertRow {
        rule: row.rule,
        subject: row.subject,
        raised_at: row.raised_at.map(Timestamp),
        turning_since: row.turning_since.map(Timestamp),
        since: Timestamp(row.since),
        worst: row.worst,
        seen_at: Timestamp(row.seen_at),
    }
}

async fn write_judged(tx: &mut Conn<'_>, stood: &[AlertRow], marks: &[Mark], judged: &Judged) -> Result<()> {
    for gone in stood.iter().filter(|old| !judged.rows.iter().any(|new| old.is_of(new))) {
        let sql = "DELETE FROM alerts WHERE rule = $1 AND subject = $2";
        tx.execute(sql, args![&gone.rule, &gone.subject]).await?;
    }
    let sql = r"
        INSERT INTO alerts (rule, subject, raised_at, turning_since, since, worst, seen_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (rule, subject) DO UPDATE SET raised_at = excluded.raised_at,
            turning_since = excluded.turning_since, since = excluded.since, worst = excluded.worst,
            seen_at = excluded.seen_at";
    for new in judged.rows.iter().filter(|new| !stood.contains(new)) {
        let (raised_at, turning_since) = (new.raised_at.map(|at| at.0), new.turning_since.map(|at| at.0));
        let args = args![&new.rule, &new.subject, raised_at, turning_since, new.since.0, new.worst, new.seen_at.0];
        tx.execute(sql, args).await?;
    }
    let sql = "UPDATE spending SET announced = $1 WHERE scope = $2 AND period = $3";
    for mark in marks {
        tx.execute(sql, args![mark.percent, &mark.scope, &mark.period]).await?;
    }
    Ok(())
}
