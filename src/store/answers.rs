//! Common questions: who lately asked what, whether the answer may be shared, and the answers themselves. Owns the
//! rows; which questions are common is the coach's affair. Of a question that is not shared only keyed hashes are known
//! here.

use crate::clock::Timestamp;
use crate::ids::{ChatId, PersonId, TurnId};

use super::{Result, Store, args, storable};

/// Rows deleted in one statement, so that nobody waits long for the lock.
const BATCH: i64 = 500;

/// How a question stands once somebody has asked it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Asked {
    /// Distinct people who asked it lately, whoever asks now among them; no more are counted than were wanted.
    pub people: i64,
    /// Whether its answer may be shared, once that was judged.
    pub shareable: Option<bool>,
}

impl Store {
    /// A secret of this database's own: `made`, if it has none of this name yet.
    pub async fn secret(&self, name: &str, made: &str) -> Result<String> {
        let value: String = self
            .db
            .write(async |connection| {
                let sql = r"
                    INSERT INTO secrets (name, value)
                    VALUES ($1, $2)
                    ON CONFLICT (name) DO NOTHING";
                connection.execute(sql, args![name, made]).await?;
                connection.fetch_value("SELECT value FROM secrets WHERE name = $1", args![name]).await
            })
            .await?;
        Ok(value)
    }

    /// Whether nothing is going on between a person and the bot in a chat, apart from this turn: no other open turn, no
    /// reel on its way, no question that had no answer.
    pub async fn is_unoccupied(&self, person: PersonId, chat: &ChatId, turn: TurnId) -> Result<bool> {
        let sql = r"
            SELECT EXISTS (
                SELECT 1
                FROM turns
                WHERE person_id = $1 AND chat = $2 AND state <> 'closed' AND NOT aside AND id <> $3
            )
                OR EXISTS (
                    SELECT 1
                    FROM subscriptions
                    WHERE person_id = $1 AND chat = $2 AND state IN ('waiting', 'answering')
                )
                OR EXISTS (
                    SELECT 1
                    FROM retries r
                    JOIN conversations c ON c.id = r.conversation_id
                    WHERE r.person_id = $1
                        AND r.chat = $2
                        AND r.failed
                        AND r.taken_by IS NULL
                        AND c.ended_at IS NULL
                )";
        let busy: bool =
            self.db.fetch_value(sql, args![person.to_string(), chat.to_string(), turn.to_string()]).await?;
        Ok(!busy)
    }

    /// Notes that somebody asks a question, and counts who has asked it since `since`: exactly up to `most` people, of
    /// whom the latest are kept.
    pub async fn note_asker(
        &self,
        question: &str,
        asker: &str,
        now: Timestamp,
        since: Timestamp,
        most: i64,
    ) -> Result<Asked> {
        self.db
            .exclusive(&[format!("question:{question}")], async |tx| {
                let sql = r"
                    INSERT INTO askers (question, asker, asked_at)
                    VALUES ($1, $2, $3)
                    ON CONFLICT (question, asker) DO UPDATE SET asked_at = excluded.asked_at";
                tx.execute(sql, args![question, asker, now.0]).await?;
                let sql = r"
                    DELETE FROM askers
                    WHERE question = $1
                        AND asker NOT IN (
                            SELECT asker
                            FROM askers
                            WHERE question = $1
                            ORDER BY asked_at DESC, asker
                            LIMIT $2
                        )";
                tx.execute(sql, args![question, most]).await?;
                let sql = r"
                    SELECT (SELECT COUNT(*) FROM askers WHERE question = $1 AND asked_at > $2) AS people,
                        (SELECT shareable FROM verdicts WHERE question = $1) AS shareable";
                tx.fetch_one(sql, args![question, since.0]).await
            })
            .await
    }

    /// Notes whether a question's answer may be shared. That it may not is final.
    pub async fn note_verdict(&self, question: &str, shareable: bool) -> Result<()> {
        let sql = r"
            INSERT INTO verdicts (question, shareable)
            VALUES ($1, $2)
            ON CONFLICT (question) DO UPDATE SET shareable = (verdicts.shareable AND excluded.shareable)";
        self.db.execute(sql, args![question, shareable]).await?;
        Ok(())
    }

    /// The answer under a key, while it is valid.
    pub async fn kept_answer(&self, key: &str, now: Timestamp) -> Result<Option<String>> {
        let row: Option<String> = self
            .db
            .fetch_optional_value("SELECT answer FROM answers WHERE key = $1 AND until > $2", args![key, now.0])
            .await?;
        Ok(row)
    }

    /// Keeps an answer until then; it takes the place of an earlier one.
    pub async fn keep_answer(&self, key: &str, question: &str, answer: &str, until: Timestamp) -> Result<()> {
        let sql = r"
            INSERT INTO answers (key, question, answer, until)
            VALUES ($1, $2, $3, $4)
            ON CONFLICT (key)
            DO UPDATE SET question = excluded.question, answer = excluded.answer, until = excluded.until";
        self.db.execute(sql, args![key, storable(question), storable(answer), until.0]).await?;
        Ok(())
    }

    /// Deletes some of those who asked before `limit`, and the verdicts on what nobody has asked since; returns how
    /// many rows. Called again until it is 0.
    pub async fn forget_askers(&self, limit: Timestamp) -> Result<u64> {
        let sql = r"
            DELETE FROM askers
            WHERE (question, asker) IN (SELECT question, asker FROM askers WHERE asked_at < $1 LIMIT $2)";
        let mut deleted = self.db.execute(sql, args![limit.0, BATCH]).await?;
        let sql = r"
            DELETE FROM verdicts
            WHERE question IN (
                SELECT v.question
                FROM verdicts v
                WHERE NOT EXISTS (SELECT 1 FROM askers a WHERE a.question = v.question)
                LIMIT $1
            )";
        deleted += self.db.execute(sql, args![BATCH]).await?;
        Ok(deleted)
    }
}
