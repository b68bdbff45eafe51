//! The instances: their heartbeats and by them which are alive, the roles that one at a time may hold, and what each of
//! them works on.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::ids::InstanceId;

use super::{Result, Store, args};

/// Every instance writes a heartbeat so often.
pub const HEARTBEAT: Duration = Duration::from_secs(10);

/// An instance is alive while its last heartbeat is younger than this: three in a row may be missed, as while a
/// database is restarted, and when a fourth is due it counts as dead. For everybody who asks: those who share a quota,
/// those who look for lost instances, and the dashboard.
pub const ALIVE: Duration = Duration::from_secs(4 * HEARTBEAT.as_secs());

/// The leases of roles: of those that one instance at a time may hold, which is the shortest lease of all, and of
/// whoever judges the alerts.
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
    /// This instance begins. `true` if one before it ended without saying so: the one of the same name, which is this
    /// one before a restart, or one that was never heard of again. Where no other program uses the database that is
    /// any.
    pub async fn begin_instance(&self, id: InstanceId, name: &str, now: Timestamp) -> Result<bool> {
        let is_only = !self.is_shared();
        self.db
            .exclusive(&["instances"], async |tx| {
                let sql = r"
                    SELECT COUNT(*)
                    FROM instances
                    WHERE id <> $1 AND ($2 OR name = $3 OR seen_at <= $4)";
                let ended: i64 = tx.fetch_value(sql, args![id.to_string(), is_only, name, (now - ALIVE).0]).await?;
                // What they had in hand was left in the middle: it counts from now on, not when they would have been
                // missed.
                tx.execute(
                    "DELETE FROM instances WHERE id <> $1 AND ($2 OR name = $3)",
                    args![id.to_string(), is_only, name],
                )
                .await?;
                let sql = r"
                    INSERT INTO instances (id, name, started_at, seen_at, measured)
                    VALUES ($1, $2, $3, $3, '{}')
                    ON CONFLICT (id) DO NOTHING";
                tx.execute(sql, args![id.to_string(), name, now.0]).await?;
                Ok(ended > 0)
            })
            .await
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
        let sql = r"
            INSERT INTO instances (id, name, started_at, seen_at, measured)
            VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at, measured = excluded.measured";
        self.leases.execute(sql, args![id.to_string(), name, started_at.0, now.0, measured]).await?;
        Ok(())
    }

    /// An instance has ended as it should, or is not waited for any more.
    pub async fn forget_instance(&self, id: &str) -> Result<()> {
        self.leases.execute("DELETE FROM instances WHERE id = $1", args![id]).await?;
        Ok(())
    }

    /// Every instance that has not said good-bye.
    pub async fn heartbeats(&self) -> Result<Vec<Heartbeat>> {
        #[derive(sqlx::FromRow)]
        struct HeartbeatRow {
            id: String,
            name: String,
            started_at: i64,
            seen_at: i64,
            measured: String,
        }
        let sql = "SELECT id, name, started_at, seen_at, measured FROM instances ORDER BY name, started_at, id";
        let rows: Vec<HeartbeatRow> = self.db.fetch_all(sql, args![]).await?;
        let heartbeat = |row: HeartbeatRow| Heartbeat {
            id: row.id,
            name: row.name,
            started_at: Timestamp(row.started_at),
            at: Timestamp(row.seen_at),
            measured: row.measured,
        };
        Ok(rows.into_iter().map(heartbeat).collect())
    }

    /// How many instances are alive.
    pub async fn live_instances(&self, now: Timestamp) -> Result<u32> {
        let live: i64 =
            self.db.fetch_value("SELECT COUNT(*) FROM instances WHERE seen_at > $1", args![(now - ALIVE).0]).await?;
        Ok(u32::try_from(live).unwrap_or(u32::MAX))
    }

    /// Takes or keeps a role until `until`; `false` while another instance holds it.
    pub async fn hold(&self, role: &str, who: InstanceId, now: Timestamp, until: Timestamp) -> Result<bool> {
        let sql = r"
            INSERT INTO leases (name, holder, until)
            VALUES ($1, $2, $3)
            ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
            WHERE leases.holder = $2 OR leases.until <= $4";
        let changed = self.leases.execute(sql, args![role, who.to_string(), until.0, now.0]).await?;
        Ok(changed == 1)
    }

    /// Gives a role up, so that another instance can take it at once.
    pub async fn let_go(&self, role: &str, who: InstanceId) -> Result<()> {
        self.leases.execute("DELETE FROM leases WHERE name = $1 AND holder = $2", args![role, who.to_string()]).await?;
        Ok(())
    }

    /// Who holds a role or a lease at `now`, or is alive.
    pub async fn instances_seen(&self, now: Timestamp) -> Result<Vec<Seen>> {
        #[derive(sqlx::FromRow)]
        struct SeenRow {
            instance: String,
            /// The role that it holds; empty for turns, `+` for jobs.
            what: String,
            count: i64,
        }
        let sql = r"
            SELECT holder AS instance, name AS what, CAST(1 AS BIGINT) AS count
            FROM leases
            WHERE until > $1
            UNION ALL
            SELECT id, '', CAST(0 AS BIGINT)
            FROM instances
            WHERE seen_at > $2
            UNION ALL
            SELECT leased_by, '', COUNT(*)
            FROM turns
            WHERE state <> 'closed' AND leased_by IS NOT NULL AND due_at > $1
            GROUP BY leased_by
            UNION ALL
            SELECT leased_by, '+', COUNT(*)
            FROM jobs
            WHERE state = 'running' AND leased_by IS NOT NULL AND leased_until > $1
            GROUP BY leased_by";
        let rows: Vec<SeenRow> = self.db.fetch_all(sql, args![now.0, (now - ALIVE).0]).await?;
        let mut all: Vec<Seen> = Vec::new();
        for SeenRow { instance, what, count } in rows {
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
