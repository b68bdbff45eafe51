//! What failed, by the reference code that people are told. Never holds a person's text.

use crate::clock::Timestamp;

use super::{Result, Store, read, storable, write};

/// One failure, as an operator looks it up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// The code that the person was told and the log has.
    pub reference: String,
    pub at: Timestamp,
    /// What failed: `answer` or `reel`.
    pub part: String,
    /// Which one: the turn's id, the reel's code.
    pub subject: String,
    /// In one word, as [`crate::upstream::Cause::name`] tells it.
    pub cause: String,
    /// As the log tells it.
    pub detail: String,
}

type NotedRow = (String, i64, String, String, String, String);

impl From<NotedRow> for Noted {
    fn from((reference, at, part, subject, cause, detail): NotedRow) -> Noted {
        Noted { reference, at: Timestamp(at), part, subject, cause, detail }
    }
}

impl Store {
    /// Notes a failure; one code is noted once. A service that failed for the same subject is known under the code too.
    pub async fn note_failure(&self, noted: &Noted) -> Result<()> {
        write!(&self.db, connection => sqlx::query(
                "INSERT INTO failures (reference, at, part, subject, cause, detail) VALUES ($1, $2, $3, $4, $5, $6) \
                 ON CONFLICT (reference) DO NOTHING")
            .bind(&noted.reference)
            .bind(noted.at.0)
            .bind(&noted.part)
            .bind(storable(&noted.subject))
            .bind(&noted.cause)
            .bind(storable(&noted.detail))
            .execute(connection)
            .await
            .map(|_| ()))?;
        write!(&self.db, connection => sqlx::query("UPDATE providers SET reference = $1 WHERE reference = $2")
            .bind(&noted.reference)
            .bind(storable(&noted.subject))
            .execute(connection)
            .await
            .map(|_| ()))?;
        Ok(())
    }

    /// The latest failures, newest first.
    pub async fn failures(&self, limit: u32) -> Result<Vec<Noted>> {
        let rows: Vec<NotedRow> = read!(&self.db, connection => sqlx::query_as(
                "SELECT reference, at, part, subject, cause, detail FROM failures ORDER BY at DESC, reference LIMIT $1")
            .bind(i64::from(limit))
            .fetch_all(connection)
            .await)?;
        Ok(rows.into_iter().map(Noted::from).collect())
    }

    /// The failure of a code.
    pub async fn failure(&self, reference: &str) -> Result<Option<Noted>> {
        let row: Option<NotedRow> = read!(&self.db, connection => sqlx::query_as(
                "SELECT reference, at, part, subject, cause, detail FROM failures WHERE reference = $1")
            .bind(storable(reference))
            .fetch_optional(connection)
            .await)?;
        Ok(row.map(Noted::from))
    }

    /// How many failed since.
    pub async fn failures_since(&self, from: Timestamp) -> Result<i64> {
        let (count,): (i64,) = read!(&self.db, connection => sqlx::query_as("SELECT COUNT(*) FROM failures WHERE at >= $1")
            .bind(from.0)
            .fetch_one(connection)
            .await)?;
        Ok(count)
    }
}
