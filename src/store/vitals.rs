//! How the whole bot is, in a few numbers: the line, answers owed, connections. Each costs the same however many
//! rows there are. Never changes what is worked on.

use std::time::Duration;

use crate::clock::Timestamp;

use super::budgets::Span;
use super::lanes::LaneKind;
use super::pool::Pool;
use super::reels::WorkSpan;
use super::{Db, Result, Store, args};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
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
        let sql = r"
            INSERT INTO tallies (name, day, value)
            VALUES ($1, $2, $3)
            ON CONFLICT (name, day) DO UPDATE SET value = tallies.value + excluded.value";
        self.db.execute(sql, args![name, Span::Day.period(at), more]).await?;
        Ok(())
    }

    /// A sum of the day that `at` is in.
    pub async fn tallied(&self, name: &str, at: Timestamp) -> Result<i64> {
        let row: Option<i64> = self
            .db
            .fetch_optional_value(
                "SELECT value FROM tallies WHERE name = $1 AND day = $2",
                args![name, Span::Day.period(at)],
            )
            .await?;
        Ok(row.unwrap_or(0))
    }

    /// The line from afar.
    pub async fn line_size(&self, now: Timestamp) -> Result<LineSize> {
        #[derive(sqlx::FromRow)]
        struct LineRow {
            waiting: i64,
            ready_at: Option<i64>,
        }
        let sql = "SELECT waiting, (SELECT MIN(ready_at) FROM jobs WHERE state = 'queued') AS ready_at FROM line";
        let line: LineRow = self.db.fetch_one(sql, args![]).await?;
        let sql = "SELECT lane FROM jobs WHERE state = 'running' AND leased_until > $1 AND lane IS NOT NULL";
        let busy = self.db.fetch_values(sql, args![now.0]).await?;
        Ok(LineSize { waiting: line.waiting, ready_since: line.ready_at.map(Timestamp), busy })
    }

    /// Answers owed by all instances.
    pub async fn owed(&self) -> Result<Owed> {
        let sql = r"
            SELECT COUNT(*) AS open,
                CAST(COALESCE(SUM(CASE WHEN state = 'answered' THEN 1 ELSE 0 END), 0) AS BIGINT) AS undelivered
            FROM (SELECT state FROM turns WHERE state <> 'closed' LIMIT $1) AS owed";
        self.db.fetch_one(sql, args![OWED_COUNTED]).await
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
            let sql = r"
                SELECT started_at, finished_at
                FROM jobs
                WHERE lane_kind = $1
                    AND state = 'done'
                    AND finished_at >= $2
                    AND finished_at < $3
                    AND started_at IS NOT NULL
                ORDER BY finished_at
                LIMIT $4";
            let rows: Vec<WorkSpan> =
                self.db.fetch_all(sql, args![kind.name(), begin.0, (begin + part).0, i64::from(each)]).await?;
            durations.extend(rows.into_iter().map(WorkSpan::length));
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
