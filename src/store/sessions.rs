//! Sessions of the dashboard that were signed out before their time: rows, so that they stay ended after a restart and on
//! every instance. Never holds what a cookie could be made from.

use crate::clock::Timestamp;

use super::{Result, Store, read, write};

impl Store {
    /// Ends the session of this hash, which would have lasted until `until`.
    pub async fn end_session(&self, session: &str, until: Timestamp) -> Result<()> {
        write!(&self.db, connection => sqlx::query("INSERT INTO ended_sessions (session, until) VALUES ($1, $2) ON CONFLICT (session) DO NOTHING")
            .bind(session)
            .bind(until.0)
            .execute(connection)
            .await
            .map(|_| ()))?;
        Ok(())
    }

    /// Whether the session of this hash was ended.
    pub async fn is_session_ended(&self, session: &str) -> Result<bool> {
        let row: Option<(i64,)> = read!(&self.db, connection => sqlx::query_as("SELECT until FROM ended_sessions WHERE session = $1")
            .bind(session)
            .fetch_optional(connection)
            .await)?;
        Ok(row.is_some())
    }
}
