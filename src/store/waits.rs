//! Times in rows that somebody waits for, held to what the rules allow. Owns the table of these times, and the
//! database's own clock; never decides how long a rule lets anybody wait.
//!
//! Such a time is the clock's when it was written plus a span. Where that clock was wrong and was set right since, the
//! time may lie hours ahead, and everybody would wait for it. No rule has put it there, so it is brought back to the
//! furthest that one can: [`Store::shorten_waits`] is called at the start, after each step of the clock and once a
//! minute, so that reads and claims can take the times in rows as they are. Rows have to be changed, not read
//! differently: of a time that is read as "at most 20 s from now" these 20 s never end.

use std::time::Duration;

use sqlx::AssertSqlSafe;

use crate::clock::{Clock, Timestamp};

use super::{Result, Store, args, sql};

/// The longest that a turn is put off for, whatever pause a platform asks for. The outbox then finds the chat still
/// paused, and puts the turn off again without a call.
pub const TURN_PUT_OFF: Duration = Duration::from_secs(600);

/// The longest that each rule lets anybody wait.
#[derive(Clone, Debug)]
pub struct LongestWaits {
    /// The time between two new reels of a person.
    pub spacing: Duration,
    /// How long messages join a turn.
    pub merging: Duration,
    /// The leases of turns, jobs, boards and roles.
    pub turn: Duration,
    pub job: Duration,
    pub board: Duration,
    pub role: Duration,
    /// Until a turn that was put off is due.
    pub turn_again: Duration,
    /// Until a job that failed is tried again, or an upstream that asked to wait.
    pub upstream_pause: Duration,
    /// Until the cost of a call that was lost is given up, and until a cost is asked for again.
    pub reservation: Duration,
    pub charge_again: Duration,
    /// How long a reel, an answer to a common question and a reel's failure are kept for others.
    pub reel: Duration,
    pub answer: Duration,
    pub reel_failure: Duration,
}

/// What a time that is too far ahead becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Becomes {
    /// The furthest that the rule allows: whoever holds a lease keeps it for that long.
    Longest,
    /// Past: nobody waits for it.
    Now,
}

/// A time that somebody waits for.
#[derive(Debug)]
struct Wait {
    table: &'static str,
    column: &'static str,
    /// Which rows it holds of.
    of: &'static str,
    longest: fn(&LongestWaits) -> Duration,
    becomes: Becomes,
}

const fn wait(
    table: &'static str,
    column: &'static str,
    of: &'static str,
    becomes: Becomes,
    longest: fn(&LongestWaits) -> Duration,
) -> Wait {
    Wait { table, column, of, longest, becomes }
}

/// Nothing in it lies ahead: the clock of whoever wrote it was.
const fn past(table: &'static str, column: &'static str, of: &'static str) -> Wait {
    wait(table, column, of, Becomes::Now, |_| Duration::ZERO)
}

/// A breaker is open for 10 minutes at most; one whose quota of the day is used up is tried each hour until the quota
/// is there again, at midnight somewhere.
const BREAKER_OPEN: Duration = Duration::from_secs(600);
const QUOTA_OPEN: Duration = Duration::from_secs(3600);
const QUOTA_AWAY: Duration = Duration::from_secs(25 * 3600);

/// Every time that somebody waits for, but those of the spacing ([`PLACES`], [`NEXT_REEL`]). A turn that sleeps until
/// another one ends is due at [`Timestamp::NEVER`], which is no time.
const WAITS: &[Wait] = &[
    wait("turns", "due_at", "leased_by IS NOT NULL AND state <> 'closed'", Becomes::Longest, |rules| rules.turn),
    wait(
        "turns",
        "due_at",
        "leased_by IS NULL AND state <> 'closed' AND due_at < 2305843009213693951",
        Becomes::Now,
        |rules| rules.turn_again,
    ),
    wait("turns", "merge_until", "state = 'open' AND state <> 'closed'", Becomes::Now, |rules| rules.merging),
    past("turns", "created_at", "state = 'open' AND state <> 'closed'"),
    wait("jobs", "not_before", "state = 'queued'", Becomes::Now, |rules| rules.upstream_pause),
    wait("jobs", "leased_until", "state = 'running'", Becomes::Longest, |rules| rules.job),
    past("jobs", "began_at", "state IN ('queued', 'running')"),
    past("jobs", "started_at", "state = 'running'"),
    wait("boards", "posting_until", "state = 'open'", Becomes::Longest, |rules| rules.board),
    wait("leases", "until", "", Becomes::Longest, |rules| rules.role),
    wait("breakers", "open_until", "quota_until = 0", Becomes::Now, |_| BREAKER_OPEN),
    wait("breakers", "open_until", "", Becomes::Now, |_| QUOTA_OPEN),
    wait("breakers", "held_until", "", Becomes::Now, |rules| rules.upstream_pause),
    wait("breakers", "quota_until", "", Becomes::Now, |_| QUOTA_AWAY),
    past("breaker_reels", "at", ""),
    past("lanes", "used_at", ""),
    wait("reels", "until", "", Becomes::Longest, |rules| rules.reel.max(rules.reel_failure)),
    wait("reels", "until", "state = 'failed'", Becomes::Now, |rules| rules.reel_failure),
    wait("answers", "until", "", Becomes::Longest, |rules| rules.answer),
    wait("ledger", "reserved_until", "reserved_until IS NOT NULL", Becomes::Longest, |rules| rules.reservation),
    wait("ledger", "confirm_at", "confirm_at IS NOT NULL", Becomes::Now, |rules| rules.charge_again),
    past("notices", "since", ""),
    past("alerts", "raised_at", ""),
    past("alerts", "turning_since", ""),
    past("alerts", "since", ""),
    past("alerts", "seen_at", ""),
    past("instances", "seen_at", ""),
    past("providers", "failed_at", ""),
    past("providers", "looked_up_at", ""),
];

/// How many reels of a queued job's person have waited as long as this one.
const UP_TO_THIS: &str = r"
    (SELECT COUNT(*) FROM jobs o WHERE o.asked_by = jobs.asked_by AND o.state = 'queued' AND o.id <= jobs.id)";

/// The places of queued reels, `$1` now, `$2` the spacing: the last of a person's is that many spacings away at most.
/// Where one is further, all of them are spaced anew, in their order; none gets a later place than it had.
const PLACES: &str = sql!(
    r"
        UPDATE jobs
        SET slot_at = CASE
                WHEN slot_at > CAST($1 AS BIGINT) + CAST($2 AS BIGINT) *",
    UP_TO_THIS,
    "THEN CAST($1 AS BIGINT) + CAST($2 AS BIGINT) *",
    UP_TO_THIS,
    r"
            ELSE slot_at
        END,
        ready_at = CASE
            WHEN ready_at > CAST($1 AS BIGINT) + CAST($2 AS BIGINT) *",
    UP_TO_THIS,
    "THEN CAST($1 AS BIGINT) + CAST($2 AS BIGINT) *",
    UP_TO_THIS,
    r"
                ELSE ready_at
            END
        WHERE state = 'queued' AND asked_by IN (
            SELECT q.asked_by
            FROM jobs q
            WHERE q.state = 'queued' AND q.ready_at > CAST($1 AS BIGINT)
                AND q.ready_at > CAST($1 AS BIGINT) + CAST($2 AS BIGINT) * (
                    SELECT COUNT(*)
                    FROM jobs o
                    WHERE o.asked_by = q.asked_by AND o.state = 'queued'
                )
        )"
);

/// How many reels of a person wait, and one.
const ONE_MORE: &str = "(1 + (SELECT COUNT(*) FROM jobs o WHERE o.asked_by = people.id AND o.state = 'queued'))";

/// A person's next reel may start one spacing after the last of those that wait.
const NEXT_REEL: &str = sql!(
    r"
        UPDATE people
        SET next_reel_at = CAST($1 AS BIGINT) + CAST($2 AS BIGINT) *",
    ONE_MORE,
    r"
        WHERE next_reel_at > CAST($1 AS BIGINT)
            AND next_reel_at > CAST($1 AS BIGINT) + CAST($2 AS BIGINT) *",
    ONE_MORE
);

impl Store {
    /// Brings every time in a row that somebody waits for back to what the rules allow; how many were beyond it.
    pub async fn shorten_waits(&self, rules: &LongestWaits, now: Timestamp) -> Result<u64> {
        let spacing = i64::try_from(rules.spacing.as_millis()).unwrap_or(0);
        let mut shortened = 0;
        for spaced in [PLACES, NEXT_REEL] {
            shortened += self.db.execute(spaced, args![now.0, spacing]).await?;
        }
        for wait in WAITS {
            let furthest = now + (wait.longest)(rules);
            let becomes = match wait.becomes {
                Becomes::Longest => furthest,
                Becomes::Now => now,
            };
            let Wait { table, column, of, .. } = wait;
            let of = if of.is_empty() { String::new() } else { format!(" AND {of}") };
            let sql = format!("UPDATE {table} SET {column} = $2 WHERE {column} > $1{of}");
            shortened += self.db.execute(AssertSqlSafe(sql), args![furthest.0, becomes.0]).await?;
        }
        if shortened > 0 {
            self.turns_changed();
            self.jobs_changed().await;
        }
        Ok(shortened)
    }

    /// The columns that [`Store::shorten_waits`] holds to a rule, as `table.column`.
    pub fn waited_for() -> Vec<String> {
        let mut columns: Vec<String> = WAITS.iter().map(|wait| format!("{}.{}", wait.table, wait.column)).collect();
        columns.extend(["jobs.ready_at", "jobs.slot_at", "people.next_reel_at"].map(str::to_owned));
        columns.sort();
        columns.dedup();
        columns
    }

    /// Makes `clock` follow the database's, `looks` times; by how much its time has changed by that. SQLite has no
    /// clock of its own: `None`.
    pub async fn follow_time(&self, clock: &Clock, looks: u32) -> Result<Option<Duration>> {
        if !self.is_shared() || !clock.may_follow() {
            return Ok(None);
        }
        let before = (clock.now(), clock.steady());
        self.db
            .write(async |connection| {
                for _ in 0..looks {
                    let sql = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)";
                    let sent = clock.steady();
                    let shown: i64 = connection.fetch_value(sql, args![]).await?;
                    clock.follow(Timestamp(shown), sent, clock.steady());
                }
                Ok(())
            })
            .await?;
        let expected = before.0 + clock.steady().since(before.1);
        Ok(Some(Duration::from_millis(clock.now().0.abs_diff(expected.0))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeping_turn_is_left_alone() {
        assert!(WAITS.iter().any(|wait| wait.of.ends_with(&Timestamp::NEVER.0.to_string())));
    }
}
