//! How the whole bot is, in a few numbers: the line, answers owed, connections. Each costs the same however many
//! rows there are. Never changes what is worked on.

use std::time::Duration;

use crate::clock::Timestamp;

use super::budgets::Span;
use super::lanes::LaneKind;
use super::pool::Pool;
use super::{Db, Result, Store, read, write};

/// The line from afar.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineSize {
    pub waiting: i64,
    /// Since when its first reel could have been read.
    pub ready_since: Option<Timestamp>,
    /// Names of the lanes at work.
    pub busy: Vec<String>,
}

/// Answers owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owed {
    /// At most `OWED_COUNTED`.
    pub open: i64,
    /// Known, not delivered.
    pub undelivered: i64,
}

/// Answers owed are counted up to so many.
const OWED_COUNTED: i64 = 10_000;

/// The connections of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    pub busy: u32,
    pub idle: u32,
    pub max: u32,
}

impl Store {
    /// Adds to a sum of the day that `at` is in.
    pub async fn tally(&self, name: &str, at: Timestamp, more: i64) -> Result<()> {
        write!(&self.db, connection => sqlx::query(
                "INSERT INTO tallies (name, day, value) VALUES ($1, $2, $3) \
                 ON CONFLICT (name, day) DO UPDATE SET value = tallies.value + excluded.value")
            .bind(name)
            .bind(Span::Day.period(at))
            .bind(more)
            .execute(connection)
            .await
            .map(|_| ()))?;
        Ok(())
    }

    /// A sum of the day that `at` is in.
    pub async fn tallied(&self, name: &str, at: Timestamp) -> Result<i64> {
        let row: Option<(i64,)> = read!(&self.db, connection => sqlx::query_as("SELECT value FROM tallies WHERE name = $1 AND day = $2")
            .bind(name)
            .bind(Span::Day.period(at))
            .fetch_optional(connection)
            .await)?;
        Ok(row.map_or(0, |(value,)| value))
    }

    /// The line from afar.
    pub async fn line_size(&self, now: Timestamp) -> Result<LineSize> {
        let (waiting, ready_at): (i64, Option<i64>) = read!(&self.db, connection => sqlx::query_as(
                "SELECT waiting, (SELECT MIN(ready_at) FROM jobs WHERE state = 'queued') FROM line")
            .fetch_one(connection)
            .await)?;
        let busy: Vec<(String,)> = read!(&self.db, connection => sqlx::query_as(
                "SELECT lane FROM jobs WHERE state = 'running' AND leased_until > $1 AND lane IS NOT NULL")
            .bind(now.0)
            .fetch_all(connection)
            .await)?;
        let busy = busy.into_iter().map(|(lane,)| lane).collect();
        Ok(LineSize { waiting, ready_since: ready_at.map(Timestamp), busy })
    }

    /// Answers owed by all instances.
    pub async fn owed(&self) -> Result<Owed> {
        let (open, undelivered): (i64, i64) = read!(&self.db, connection => sqlx::query_as(
                "SELECT COUNT(*), CAST(COALESCE(SUM(CASE WHEN state = 'answered' THEN 1 ELSE 0 END), 0) AS BIGINT) \
                 FROM (SELECT state FROM turns WHERE state <> 'closed' LIMIT $1) AS owed")
            .bind(OWED_COUNTED)
            .fetch_one(connection)
            .await)?;
        Ok(Owed { open, undelivered })
    }

    /// How long reels took on a kind of lane between two moments: of each of `parts` equal parts of that time the first
    /// `each`, so that it costs the same however many there were.
    pub async fn sampled_durations(
        &self,
        kind: LaneKind,
        from: Timestamp,
        to: Timestamp,
        parts: u32,
        each: u32,
    ) -> Result<Vec<Duration>> {
        let mut durations = Vec::new();
        let part = to.since(from) / parts.max(1);
        for at in 0..parts {
            let begin = from + part * at;
            let rows: Vec<(i64, i64)> = read!(&self.db, connection => sqlx::query_as(
                    "SELECT started_at, finished_at FROM jobs WHERE lane_kind = $1 AND state = 'done' AND finished_at >= $2 \
                     AND finished_at < $3 AND started_at IS NOT NULL ORDER BY finished_at LIMIT $4")
                .bind(kind.name())
                .bind(begin.0)
                .bind((begin + part).0)
                .bind(i64::from(each))
                .fetch_all(connection)
                .await)?;
            durations.extend(rows.into_iter().map(|(from, to)| Timestamp(to).since(Timestamp(from))));
        }
        Ok(durations)
    }

    /// The connections of this process.
    pub fn connections(&self) -> Connections {
        let of = |size: usize, idle: usize, max: usize| {
            let count = |connections: usize| u32::try_from(connections).unwrap_or(u32::MAX);
            Connections { busy: count(size.saturating_sub(idle)), idle: count(idle), max: count(max) }
        };
        match &self.db {
            Db::Sqlite { read, write, .. } => {
                let (read, write) = (read.free.status(), write.free.status());
                of(read.size + write.size, read.available + write.available, read.max_size + write.max_size)
            }
            Db::Pg(Pool { own, .. }) => {
                of(own.size() as usize, own.num_idle(), own.options().get_max_connections() as usize)
            }
        }
    }
}
