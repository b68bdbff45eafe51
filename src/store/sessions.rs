//! Sessions of the dashboard that were signed out before their time: rows, so that they stay ended after a restart and
//! on every instance. Never holds what a cookie could be made from.

use crate::clock::Timestamp;

use super::{Result, Store, args};

impl Store {
    /// Ends the session of this hash, which would have lasted until `until`.
    pub async fn end_session(&self, session: &str, until: Timestamp) -> Result<()> {
        let sql = r"
            INSERT INTO ended_sessions (session, until)
            VALUES ($1, $2)
            ON CONFLICT (session) DO NOTHING";
        self.db.execute(sql, args![session, until.0]).await?;
        Ok(())
    }

    /// Whether the session of this hash was ended.
    pub async fn is_session_ended(&self, session: &str) -> Result<bool> {
        let row: Option<i64> =
            self.db.fetch_optional_value("SELECT until FROM ended_sessions WHERE session = $1", args![session]).await?;
        Ok(row.is_some())
    }
}
