//! Common questions: who lately asked what, whether the answer may be shared, and the answers themselves. Owns the rows;
//! which questions are common is the coach's affair. Of a question that is not shared only keyed hashes are known here.

use crate::clock::Timestamp;
use crate::ids::{ChatId, PersonId, TurnId};

use super::{Result, Store, exclusive, read, storable, write};

/// Rows deleted in one statement, so that nobody waits long for the lock.
const BATCH: i64 = 500;

/// How a question stands once somebody has asked it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Distinct people who asked it lately, whoever asks now among them; no more are counted than were wanted.
    pub people: i64,
    /// Whether its answer may be shared, once that was judged.
    pub shareable: Option<bool>,
}

impl Store {
    /// A secret of this database's own: `made`, if it has none of this name yet.
    pub async fn secret(&self, name: &str, made: &str) -> Result<String> {
        let (value,): (String,) = write!(&self.db, connection => {
            sqlx::query("INSERT INTO secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
                .bind(name)
                .bind(made)
                .execute(&mut *connection)
                .await?;
            sqlx::query_as("SELECT value FROM secrets WHERE name = $1").bind(name).fetch_one(connection).await
        })?;
        Ok(value)
    }

    /// Whether nothing is going on between a person and the bot in a chat, apart from this turn: no other open turn, no
    /// reel on its way, no question that had no answer.
    pub async fn is_unoccupied(&self, person: PersonId, chat: &ChatId, turn: TurnId) -> Result<bool> {
        let (busy,): (bool,) = read!(&self.db, connection => sqlx::query_as(
                "SELECT EXISTS (SELECT 1 FROM turns WHERE person_id = $1 AND chat = $2 AND state <> 'closed' AND NOT aside \
                 AND id <> $3) \
                 OR EXISTS (SELECT 1 FROM subscriptions WHERE person_id = $1 AND chat = $2 AND state IN ('waiting', 'answering')) \
                 OR EXISTS (SELECT 1 FROM retries r JOIN conversations c ON c.id = r.conversation_id \
                 WHERE r.person_id = $1 AND r.chat = $2 AND r.failed AND r.taken_by IS NULL AND c.ended_at IS NULL)")
            .bind(person.to_string())
            .bind(chat.to_string())
            .bind(turn.to_string())
            .fetch_one(connection)
            .await)?;
        Ok(!busy)
    }

    /// Notes that somebody asks a question, and counts who has asked it since `since`: exactly up to `most` people, of whom
    /// the latest are kept.
    pub async fn note_asker(
        &self,
        question: &str,
        asker: &str,
        now: Timestamp,
        since: Timestamp,
        most: i64,
    ) -> Result<Asked> {
        exclusive!(&self.db, [format!("question:{question}")], tx => {
            sqlx::query(
                    "INSERT INTO askers (question, asker, asked_at) VALUES ($1, $2, $3) \
                     ON CONFLICT (question, asker) DO UPDATE SET asked_at = excluded.asked_at")
                .bind(question)
                .bind(asker)
                .bind(now.0)
                .execute(&mut *tx)
                .await?;
            sqlx::query(
                    "DELETE FROM askers WHERE question = $1 AND asker NOT IN \
                     (SELECT asker FROM askers WHERE question = $1 ORDER BY asked_at DESC, asker LIMIT $2)")
                .bind(question)
                .bind(most)
                .execute(&mut *tx)
                .await?;
            let (people, shareable): (i64, Option<bool>) = sqlx::query_as(
                    "SELECT (SELECT COUNT(*) FROM askers WHERE question = $1 AND asked_at > $2), \
                     (SELECT shareable FROM verdicts WHERE question = $1)")
                .bind(question)
                .bind(since.0)
                .fetch_one(&mut *tx)
                .await?;
            Ok(Asked { people, shareable })
        })
    }

    /// Notes whether a question's answer may be shared. That it may not is final.
    pub async fn note_verdict(&self, question: &str, shareable: bool) -> Result<()> {
        write!(&self.db, connection => sqlx::query(
                "INSERT INTO verdicts (question, shareable) VALUES ($1, $2) ON CONFLICT (question) DO UPDATE \
                 SET shareable = (verdicts.shareable AND excluded.shareable)")
            .bind(question)
            .bind(shareable)
            .execute(connection)
            .await
            .map(|_| ()))?;
        Ok(())
    }

    /// The answer under a key, while it is valid.
    pub async fn kept_answer(&self, key: &str, now: Timestamp) -> Result<Option<String>> {
        let row: Option<(String,)> = read!(&self.db, connection => sqlx::query_as("SELECT answer FROM answers WHERE key = $1 AND until > $2")
            .bind(key)
            .bind(now.0)
            .fetch_optional(connection)
            .await)?;
        Ok(row.map(|(answer,)| answer))
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

    /// Deletes some of those who asked before `limit`, and the verdicts on what nobody has asked since; returns how many
    /// rows. Called again until it is 0.
    pub async fn forget_askers(&self, limit: Timestamp) -> Result<u64> {
        let mut deleted = write!(&self.db, connection => sqlx::query(
                "DELETE FROM askers WHERE (question, asker) IN (SELECT question, asker FROM askers WHERE asked_at < $1 LIMIT $2)")
            .bind(limit.0)
            .bind(BATCH)
            .execute(connection)
            .await
            .map(|done| done.rows_affected()))?;
        deleted += write!(&self.db, connection => sqlx::query(
                "DELETE FROM verdicts WHERE question IN (SELECT v.question FROM verdicts v \
                 WHERE NOT EXISTS (SELECT 1 FROM askers a WHERE a.question = v.question) LIMIT $1)")
            .bind(BATCH)
            .execute(connection)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(deleted)
    }
}
