//! Roles that one instance at a time may hold, and which instances are seen by what they hold.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::ids::InstanceId;

use super::{Result, Store, read, write};

/// Without a sign of life an instance is no longer seen after so long.
const SILENT: Duration = Duration::from_secs(60);

/// An instance that is seen in the database: by its sign of life, a role, or what it works on.
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
    /// Takes or keeps a role until `until`; `false` while another instance holds it.
    pub async fn hold(&self, role: &str, who: InstanceId, now: Timestamp, until: Timestamp) -> Result<bool> {
        let changed = write!(&self.db, pool => sqlx::query(
                "INSERT INTO leases (name, holder, until) VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE \
                 SET holder = excluded.holder, until = excluded.until WHERE leases.holder = $2 OR leases.until <= $4")
            .bind(role)
            .bind(who.to_string())
            .bind(until.0)
            .bind(now.0)
            .execute(pool)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(changed == 1)
    }

    /// Gives a role up, so that another instance can take it at once.
    pub async fn let_go(&self, role: &str, who: InstanceId) -> Result<()> {
        write!(&self.db, pool => sqlx::query("DELETE FROM leases WHERE name = $1 AND holder = $2")
            .bind(role)
            .bind(who.to_string())
            .execute(pool)
            .await
            .map(|_| ()))?;
        Ok(())
    }

    /// Who holds a role or a lease at `now`, or has just given a sign of life.
    pub async fn instances_seen(&self, now: Timestamp) -> Result<Vec<Seen>> {
        let rows: Vec<(String, String, i64)> = read!(&self.db, pool => sqlx::query_as(
                "SELECT holder, name, CAST(1 AS BIGINT) FROM leases WHERE until > $1 \
                 UNION ALL SELECT id, '', CAST(0 AS BIGINT) FROM instances WHERE seen_at > $2 \
                 UNION ALL SELECT leased_by, '', COUNT(*) FROM turns \
                 WHERE state <> 'closed' AND leased_by IS NOT NULL AND due_at > $1 GROUP BY leased_by \
                 UNION ALL SELECT leased_by, '+', COUNT(*) FROM jobs \
                 WHERE state = 'running' AND leased_by IS NOT NULL AND leased_until > $1 GROUP BY leased_by")
            .bind(now.0)
            .bind((now - SILENT).0)
            .fetch_all(pool)
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
