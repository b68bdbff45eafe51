//! Answers to common questions that are given again. Owns the rows; which questions are common is the coach's affair.

use crate::clock::Timestamp;

use super::{Result, Store, read, storable, write};

/// An answer that may be given again.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct KeptAnswer {
    /// Stands for the question, the model and the prompt; names it in a button.
    pub key: String,
    pub answer: String,
}

impl Store {
    /// The answer under a key, while it is valid.
    pub async fn kept_answer(&self, key: &str, now: Timestamp) -> Result<Option<KeptAnswer>> {
        Ok(
            read!(&self.db, connection => sqlx::query_as("SELECT key, answer FROM answers WHERE key = $1 AND until > $2")
            .bind(key)
            .bind(now.0)
            .fetch_optional(connection)
            .await)?,
        )
    }

    /// The question under a key, also of an answer that is not valid any more.
    pub async fn question_of(&self, key: &str) -> Result<Option<String>> {
        let row: Option<(String,)> = read!(&self.db, connection => sqlx::query_as("SELECT question FROM answers WHERE key = $1")
            .bind(key)
            .fetch_optional(connection)
            .await)?;
        Ok(row.map(|(question,)| question))
    }

    /// Keeps an answer until then; it takes the place of an earlier one.
    pub async fn keep_answer(&self, key: &str, question: &str, answer: &str, until: Timestamp) -> Result<()> {
        write!(&self.db, connection => sqlx::query(
                "INSERT INTO answers (key, question, answer, until) VALUES ($1, $2, $3, $4) ON CONFLICT (key) DO UPDATE \
                 SET question = excluded.question, answer = excluded.answer, until = excluded.until")
            .bind(key)
            .bind(storable(question))
            .bind(storable(answer))
            .bind(until.0)
            .execute(connection)
            .await
            .map(|_| ()))?;
        Ok(())
    }
}
