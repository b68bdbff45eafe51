//! What failed, by the reference code that people are told. Never holds a person's text.

use crate::clock::Timestamp;

use super::{Result, Store, args, storable};

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

#[derive(sqlx::FromRow)]
struct NotedRow {
    reference: String,
    at: i64,
    part: String,
    subject: String,
    cause: String,
    detail: String,
}

impl From<NotedRow> for Noted {
    fn from(row: NotedRow) -> Noted {
        let NotedRow { reference, at, part, subject, cause, detail } = row;
        Noted { reference, at: Timestamp(at), part, subject, cause, detail }
    }
}

impl Store {
    /// Notes a failure; one code is noted once. A service that failed for the same subject is known under the code too.
    pub async fn note_failure(&self, noted: &Noted) -> Result<()> {
        let sql = r"
            INSERT INTO failures (reference, at, part, subject, cause, detail)
            VALUES ($1, $2, $3, $4, $5, $6)
            ON CONFLICT (reference) DO NOTHING";
        self.db
            .execute(
                sql,
                args![
                    &noted.reference,
                    noted.at.0,
                    &noted.part,
                    storable(&noted.subject),
                    &noted.cause,
                    storable(&noted.detail)
                ],
            )
            .await?;
        self.db
            .execute(
                "UPDATE providers SET reference = $1 WHERE reference = $2",
                args![&noted.reference, storable(&noted.subject)],
            )
            .await?;
        Ok(())
    }

    /// The latest failures, newest first.
    pub async fn failures(&self, limit: u32) -> Result<Vec<Noted>> {
        let sql = r"
            SELECT reference, at, part, subject, cause, detail
            FROM failures
            ORDER BY at DESC, reference
            LIMIT $1";
        let rows: Vec<NotedRow> = self.db.fetch_all(sql, args![i64::from(limit)]).await?;
        Ok(rows.into_iter().map(Noted::from).collect())
    }

    /// The failure of a code.
    pub async fn failure(&self, reference: &str) -> Result<Option<Noted>> {
        let sql = r"
            SELECT reference, at, part, subject, cause, detail
            FROM failures
            WHERE reference = $1";
        let row: Option<NotedRow> = self.db.fetch_optional(sql, args![storable(reference)]).await?;
        Ok(row.map(Noted::from))
    }

    /// How many failed since.
    pub async fn failures_since(&self, from: Timestamp) -> Result<i64> {
        self.db.fetch_value("SELECT COUNT(*) FROM failures WHERE at >= $1", args![from.0]).await
    }
}
