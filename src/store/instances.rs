//! The instances: their heartbeats and by them which are alive, the roles that one at a time may hold, and what each of
//! them works on.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::ids::InstanceId;

use super::{Result, Store, exclusive, read, write};

/// Every instance writes a heartbeat so often.
pub const HEARTBEAT: Duration = Duration::from_secs(10);

/// An instance is alive while its last heartbeat is younger than this: three in a row may be missed, as while a database
/// is restarted, and when a fourth is due it counts as dead. For everybody who asks: those who share a quota, those who
/// look for lost instances, and the dashboard.
pub const ALIVE: Duration = Duration::from_secs(4 * HEARTBEAT.as_secs());

/// The leases of roles: of those that one instance at a time may hold, which is the shortest lease of all, and of whoever
/// judges the alerts.
pub const SHORTEST_LEASE: Duration = Duration::from_secs(8);
pub const LONGEST_LEASE: Duration = Duration::from_secs(25);

/// An instance whose clock is further off than a third of the shortest lease takes no work, in seconds.
pub const STOPPED_FROM_S: f64 = SHORTEST_LEASE.as_secs() as f64 / 3.0;

/// How an instance's clock stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockState {
    /// By how much its machine is ahead of the database's clock, in ms.
    pub skew_ms: i64,
    /// It takes no work for that.
    pub is_stopped: bool,
}

impl ClockState {
    /// Of an instance that is off by so much, beside others: the one that is off by the least is right.
    pub fn of(skew_ms: i64, others: &[i64]) -> ClockState {
        let right = others.iter().copied().chain([skew_ms]).min_by_key(|skew| (skew.abs(), *skew)).unwrap_or(skew_ms);
        let off_s = Duration::from_millis(skew_ms.abs_diff(right)).as_secs_f64();
        ClockState { skew_ms, is_stopped: off_s > STOPPED_FROM_S }
    }

    pub fn skew(self) -> Duration {
        Duration::from_millis(self.skew_ms.unsigned_abs())
    }
}

/// The last heartbeat of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    pub id: String,
    pub name: String,
    pub started_at: Timestamp,
    pub at: Timestamp,
    /// JSON; opaque here.
    pub measured: String,
}

impl Heartbeat {
    pub fn is_alive(&self, now: Timestamp) -> bool {
        now.since(self.at) < ALIVE
    }
}

/// An instance that is seen in the database: it is alive, holds a role, or works on something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub instance: String,
    pub roles: Vec<String>,
    /// Answers in the making.
    pub turns: i64,
    /// Reels being read.
    pub jobs: i64,
}

impl Store {
    /// This instance begins. `true` if one before it ended without saying so: the one of the same name, which is this one
    /// before a restart, or one that was never heard of again. Where no other program uses the database that is any.
    pub async fn begin_instance(&self, id: InstanceId, name: &str, now: Timestamp) -> Result<bool> {
        let is_only = !self.is_shared();
        exclusive!(&self.db, ["instances"], tx => {
            let (ended,): (i64,) =
                sqlx::query_as("SELECT COUNT(*) FROM instances WHERE id <> $1 AND ($2 OR name = $3 OR seen_at <= $4)")
                    .bind(id.to_string())
                    .bind(is_only)
                    .bind(name)
                    .bind((now - ALIVE).0)
                    .fetch_one(&mut *tx)
                    .await?;
            // What they had in hand was left in the middle: it counts from now on, not when they would have been missed.
            sqlx::query("DELETE FROM instances WHERE id <> $1 AND ($2 OR name = $3)")
                .bind(id.to_string())
                .bind(is_only)
                .bind(name)
                .execute(&mut *tx)
                .await?;
            sqlx::query(
                    "INSERT INTO instances (id, name, started_at, seen_at, measured) VALUES ($1, $2, $3, $3, '{}') \
                     ON CONFLICT (id) DO NOTHING")
                .bind(id.to_string())
                .bind(name)
                .bind(now.0)
                .execute(&mut *tx)
                .await?;
            Ok(ended > 0)
        })
    }

    /// This instance is alive.
    pub async fn note_instance(
        &self,
        id: InstanceId,
        name: &str,
        started_at: Timestamp,
        now: Timestamp,
        measured: &str,
    ) -> Result<()> {
        write!(&self.leases, connection => sqlx::query(
                "INSERT INTO instances (id, name, started_at, seen_at, measured) VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, measured = excluded.measured")
            .bind(id.to_string())
            .bind(name)
            .bind(started_at.0)
            .bind(now.0)
            .bind(measured)
            .execute(connection)
            .await
            .map(|_| ()))?;
        Ok(())
    }

    /// An instance has ended as it should, or is not waited for any more.
    pub async fn forget_instance(&self, id: &str) -> Result<()> {
        write!(&self.leases, connection => sqlx::query("DELETE FROM instances WHERE id = $1").bind(id).execute(connection).await.map(|_| ()))?;
        Ok(())
    }

    /// Every instance that has not said good-bye.
    pub async fn heartbeats(&self) -> Result<Vec<Heartbeat>> {
        let rows: Vec<(String, String, i64, i64, String)> = read!(&self.db, connection => sqlx::query_as(
                "SELECT id, name, started_at, seen_at, measured FROM instances ORDER BY name, started_at, id")
            .fetch_all(connection)
            .await)?;
        let heartbeat = |(id, name, started_at, at, measured)| Heartbeat {
            id,
            name,
            started_at: Timestamp(started_at),
            at: Timestamp(at),
            measured,
        };
        Ok(rows.into_iter().map(heartbeat).collect())
    }

    /// How many instances are alive.
    pub async fn live_instances(&self, now: Timestamp) -> Result<u32> {
        let (live,): (i64,) = read!(&self.db, connection => sqlx::query_as("SELECT COUNT(*) FROM instances WHERE seen_at > $1")
            .bind((now - ALIVE).0)
            .fetch_one(connection)
            .await)?;
        Ok(u32::try_from(live).unwrap_or(u32::MAX))
    }

    /// Takes or keeps a role until `until`; `false` while another instance holds it.
    pub async fn hold(&self, role: &str, who: InstanceId, now: Timestamp, until: Timestamp) -> Result<bool> {
        let changed = write!(&self.leases, connection => sqlx::query(
                "INSERT INTO leases (name, holder, until) VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE \
                 SET holder = excluded.holder, until = excluded.until WHERE leases.holder = $2 OR leases.until <= $4")
            .bind(role)
            .bind(who.to_string())
            .bind(until.0)
            .bind(now.0)
            .execute(connection)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(changed == 1)
    }

    /// Gives a role up, so that another instance can take it at once.
    pub async fn let_go(&self, role: &str, who: InstanceId) -> Result<()> {
        write!(&self.leases, connection => sqlx::query("DELETE FROM leases WHERE name = $1 AND holder = $2")
            .bind(role)
            .bind(who.to_string())
            .execute(connection)
            .await
            .map(|_| ()))?;
        Ok(())
    }

    /// Who holds a role or a lease at `now`, or is alive.
    pub async fn instances_seen(&self, now: Timestamp) -> Result<Vec<Seen>> {
        let rows: Vec<(String, String, i64)> = read!(&self.db, connection => sqlx::query_as(
                "SELECT holder, name, CAST(1 AS BIGINT) FROM leases WHERE until > $1 \
                 UNION ALL SELECT id, '', CAST(0 AS BIGINT) FROM instances WHERE seen_at > $2 \
                 UNION ALL SELECT leased_by, '', COUNT(*) FROM turns \
                 WHERE state <> 'closed' AND leased_by IS NOT NULL AND due_at > $1 GROUP BY leased_by \
                 UNION ALL SELECT leased_by, '+', COUNT(*) FROM jobs \
                 WHERE state = 'running' AND leased_by IS NOT NULL AND leased_until > $1 GROUP BY leased_by")
            .bind(now.0)
            .bind((now - ALIVE).0)
            .fetch_all(connection)
            .await)?;
        let mut all: Vec<Seen> = Vec::new();
        for (instance, what, count) in rows {
            let at = all.iter().position(|seen| seen.instance == instance).unwrap_or_else(|| {
                all.push(Seen { instance, roles: Vec::new(), turns: 0, jobs: 0 });
                all.len() - 1
            });
            match what.as_str() {
                "" => all[at].turns += count,
                "+" => all[at].jobs += count,
                _ => all[at].roles.push(what),
            }
        }
        all.sort_by(|a, b| a.instance.cmp(&b.instance));
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_off_by_the_least_goes_on() {
        let is_stopped = |own: i64, others: &[i64]| ClockState::of(own, others).is_stopped;
        assert!(!is_stopped(2_600, &[0]) && is_stopped(2_700, &[0]) && is_stopped(-30_000, &[10]));
        assert!(!is_stopped(30_000, &[]), "alone it is right");
        assert!(!is_stopped(30_000, &[30_500, 29_000]), "the database is off, not they");
        assert!(is_stopped(30_000, &[-30_000]) != is_stopped(-30_000, &[30_000]), "one of two goes on");
        assert!(!is_stopped(5_000, &[5_500, -60_000]) && is_stopped(-60_000, &[5_000, 5_500]));
    }
}
