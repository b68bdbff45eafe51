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

    pub(super) fn parse(name: &str) -> Result<Role> {
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

/// A current conversation, and behind it its lines since the summary, oldest first: id, beginning, role, text. Whoever still
/// answers in a chat that got another id remembers what is said under that one.
const REMEMBERED: &str = "WITH current AS (SELECT id, started_at, summary, summary_until FROM conversations \
     WHERE person_id = $1 AND chat = COALESCE((SELECT new_id FROM moved_chats WHERE old_id = $2), $2) AND ended_at IS NULL) \
     SELECT id, started_at, '' AS role, summary AS content FROM current \
     UNION ALL SELECT m.id, -1, m.role, m.content FROM current c \
     JOIN messages m ON m.conversation_id = c.id AND m.id > c.summary_until ORDER BY 2 DESC, 1";

impl Memory {
    /// Of the rows of [`REMEMBERED`].
    fn read(rows: Vec<(String, i64, String, String)>) -> Result<Option<Memory>> {
        let mut rows = rows.into_iter();
        let Some((id, started_at, _, summary)) = rows.next() else { return Ok(None) };
        let line = |(id, _, role, content): (_, _, String, _)| Ok(Line { id, role: Role::parse(&role)?, content });
        let lines = rows.map(line).collect::<Result<_>>()?;
        Ok(Some(Memory { conversation: id.parse()?, started_at: Timestamp(started_at), summary, lines }))
    }
}

impl Store {
    /// The memory of the current conversation, which begins if there is none.
    pub async fn memory(&self, person: PersonId, chat: &ChatId, now: Timestamp) -> Result<Memory> {
        let found = read!(&self.db, connection => sqlx::query_as(REMEMBERED)
            .bind(person.to_string())
            .bind(chat.to_string())
            .fetch_all(connection)
            .await)?;
        if let Some(memory) = Memory::read(found)? {
            return Ok(memory);
        }
        let begun = write!(&self.db, connection => {
            sqlx::query(
                    "INSERT INTO conversations (id, person_id, chat, started_at, summary, summary_until) \
                     VALUES ($1, $2, COALESCE((SELECT new_id FROM moved_chats WHERE old_id = $3), $3), $4, '', '') \
                     ON CONFLICT DO NOTHING")
                .bind(ConversationId::new().to_string())
                .bind(person.to_string())
                .bind(chat.to_string())
                .bind(now.0)
                .execute(&mut *connection)
                .await?;
            sqlx::query_as(REMEMBERED).bind(person.to_string()).bind(chat.to_string()).fetch_all(connection).await
        })?;
        // Unless it was ended at once.
        Memory::read(begun)?.ok_or(StoreError::Query(sqlx::Error::RowNotFound))
    }

    /// Replaces the lines up to and including `until` by `summary` in what is remembered.
    pub async fn summarise(&self, conversation: ConversationId, summary: &str, until: &str) -> Result<()> {
        write!(&self.db, connection => sqlx::query(
                "UPDATE conversations SET summary = $1, summary_until = $2 WHERE id = $3 AND summary_until < $2")
            .bind(storable(summary))
            .bind(until)
            .bind(conversation.to_string())
            .execute(connection)
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
        let row: Option<(bool,)> = read!(&self.db, connection => sqlx::query_as("SELECT spoken FROM chats WHERE id = $1")
            .bind(chat.to_string())
            .fetch_optional(connection)
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
        let rows: Vec<(String, Option<String>)> = read!(&self.db, connection => sqlx::query_as(
                "SELECT id, last_message FROM chats WHERE platform = $1 AND last_at >= $2 ORDER BY last_at DESC LIMIT $3")
            .bind(platform.name())
            .bind(since.0)
            .bind(i64::from(limit))
            .fetch_all(connection)
            .await)?;
        rows.into_iter().map(|(id, message)| Ok((id.parse()?, message))).collect()
    }
}
