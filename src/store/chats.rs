//! Places and memory: which chats are active, what was said in a conversation.

use crate::clock::Timestamp;
use crate::ids::{ChatId, ConversationId, PersonId, Platform};

use super::turns::talk_lock;
use super::{Result, Store, StoreError, exclusive, read, storable, write};

/// Who a line of memory is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Person,
    Coach,
    /// A reel's content: data that nobody in the chat has said.
    Reel,
}

impl Role {
    pub(super) fn name(self) -> &'static str {
        match self {
            Role::Person => "person",
            Role::Coach => "coach",
            Role::Reel => "reel",
        }
    }

    fn parse(name: &str) -> Result<Role> {
        [Role::Person, Role::Coach, Role::Reel]
            .into_iter()
            .find(|role| role.name() == name)
            .ok_or(StoreError::Corrupt("messages.role"))
    }
}

/// One remembered line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub id: String,
    pub role: Role,
    pub content: String,
}

/// What is remembered of a conversation: a summary of its older part, and the lines since.
#[derive(Clone, Debug)]
pub struct Memory {
    pub conversation: ConversationId,
    pub started_at: Timestamp,
    pub summary: String,
    /// Oldest first.
    pub lines: Vec<Line>,
}

impl Store {
    /// The memory of the current conversation, which begins if there is none.
    pub async fn memory(&self, person: PersonId, chat: &ChatId, now: Timestamp) -> Result<Memory> {
        type Row = (String, i64, String, String);
        let find = "SELECT id, started_at, summary, summary_until FROM conversations \
                    WHERE person_id = $1 AND chat = $2 AND ended_at IS NULL";
        let row: Option<Row> = read!(&self.db, pool => sqlx::query_as(find)
            .bind(person.to_string())
            .bind(chat.to_string())
            .fetch_optional(pool)
            .await)?;
        let (id, started_at, summary, summary_until) = match row {
            Some(row) => row,
            None => {
                let fresh = ConversationId::new();
                write!(&self.db, pool => sqlx::query(
                        "INSERT INTO conversations (id, person_id, chat, started_at, summary, summary_until) \
                         VALUES ($1, $2, $3, $4, '', '') ON CONFLICT DO NOTHING")
                    .bind(fresh.to_string())
                    .bind(person.to_string())
                    .bind(chat.to_string())
                    .bind(now.0)
                    .execute(pool)
                    .await
                    .map(|_| ()))?;
                let row: Row = write!(&self.db, pool => sqlx::query_as(find)
                    .bind(person.to_string())
                    .bind(chat.to_string())
                    .fetch_one(pool)
                    .await)?;
                row
            }
        };
        let lines: Vec<(String, String, String)> = read!(&self.db, pool => sqlx::query_as(
                "SELECT id, role, content FROM messages WHERE conversation_id = $1 AND id > $2 ORDER BY id")
            .bind(&id)
            .bind(&summary_until)
            .fetch_all(pool)
            .await)?;
        let lines = lines
            .into_iter()
            .map(|(id, role, content)| Ok(Line { id, role: Role::parse(&role)?, content }))
            .collect::<Result<_>>()?;
        Ok(Memory { conversation: id.parse()?, started_at: Timestamp(started_at), summary, lines })
    }

    /// Replaces the lines up to and including `until` by `summary` in what is remembered.
    pub async fn summarise(&self, conversation: ConversationId, summary: &str, until: &str) -> Result<()> {
        write!(&self.db, pool => sqlx::query(
                "UPDATE conversations SET summary = $1, summary_until = $2 WHERE id = $3 AND summary_until < $2")
            .bind(storable(summary))
            .bind(until)
            .bind(conversation.to_string())
            .execute(pool)
            .await
            .map(|_| ()))?;
        Ok(())
    }

    /// Ends the current conversation: the next message begins a new one. `false` if there was none.
    pub async fn forget(&self, person: PersonId, chat: &ChatId, now: Timestamp) -> Result<bool> {
        exclusive!(&self.db, [talk_lock(person, chat)], tx => {
            let ended = sqlx::query(
                    "UPDATE conversations SET ended_at = $1 WHERE person_id = $2 AND chat = $3 AND ended_at IS NULL")
                .bind(now.0)
                .bind(person.to_string())
                .bind(chat.to_string())
                .execute(&mut *tx)
                .await?;
            Ok(ended.rows_affected() > 0)
        })
    }

    /// Whether the bot has said something in this chat.
    pub async fn has_spoken(&self, chat: &ChatId) -> Result<bool> {
        let row: Option<(bool,)> = read!(&self.db, pool => sqlx::query_as("SELECT spoken FROM chats WHERE id = $1")
            .bind(chat.to_string())
            .fetch_optional(pool)
            .await)?;
        Ok(row.is_some_and(|(spoken,)| spoken))
    }

    /// The platform's chats with something new since `since`, newest first, at most `limit`, with the newest
    /// message id stored from each.
    pub async fn active_chats(
        &self,
        platform: Platform,
        since: Timestamp,
        limit: u32,
    ) -> Result<Vec<(ChatId, Option<String>)>> {
        let rows: Vec<(String, Option<String>)> = read!(&self.db, pool => sqlx::query_as(
                "SELECT id, last_message FROM chats WHERE platform = $1 AND last_at >= $2 ORDER BY last_at DESC LIMIT $3")
            .bind(platform.name())
            .bind(since.0)
            .bind(i64::from(limit))
            .fetch_all(pool)
            .await)?;
        rows.into_iter().map(|(id, message)| Ok((id.parse()?, message))).collect()
    }
}
