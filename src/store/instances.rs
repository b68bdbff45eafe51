//! Roles that one instance at a time may hold.

use crate::clock::Timestamp;
use crate::ids::InstanceId;

use super::{Result, Store, write};

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
}
