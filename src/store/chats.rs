//! Places and memory: which chats are active, what was said in a conversation.

use crate::clock::Timestamp;
use crate::ids::{ChatId, ConversationId, PersonId, Platform};

use super::locks::talk_lock;
use super::{Result, Store, StoreError, args, storable};

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

/// A current conversation, and behind it its lines since the summary, oldest first. Whoever still
/// answers in a chat that got another id remembers what is said under that one.
const REMEMBERED: &str = r"
    WITH current AS (
        SELECT id, started_at, summary, summary_until
        FROM conversations
        WHERE person_id = $1
            AND chat = COALESCE((SELECT new_id FROM moved_chats WHERE old_id = $2), $2)
            AND ended_at IS NULL
    )
    SELECT id, started_at, '' AS role, summary AS content
    FROM current
    UNION ALL
    SELECT m.id, -1, m.role, m.content
    FROM current c
    JOIN messages m ON m.conversation_id = c.id AND m.id > c.summary_until
    ORDER BY 2 DESC, 1";

/// A row of [`REMEMBERED`].
#[derive(sqlx::FromRow)]
struct RememberedRow {
    id: String,
    started_at: i64,
    role: String,
    content: String,
}

impl Memory {
    fn of_rows(rows: Vec<RememberedRow>) -> Result<Option<Memory>> {
        let mut rows = rows.into_iter();
        let Some(current) = rows.next() else { return Ok(None) };
        let line = |row: RememberedRow| Ok(Line { id: row.id, role: Role::parse(&row.role)?, content: row.content });
        let lines = rows.map(line).collect::<Result<_>>()?;
        let (conversation, started_at) = (current.id.parse()?, Timestamp(current.started_at));
        Ok(Some(Memory { conversation, started_at, summary: current.content, lines }))
    }
}

#[derive(sqlx::FromRow)]
struct ActiveChat {
    id: String,
    last_message: Option<String>,
}

impl Store {
    /// The memory of the current conversation, which begins if there is none.
    pub async fn memory(&self, person: PersonId, chat: &ChatId, now: Timestamp) -> Result<Memory> {
        let found = self.db.fetch_all(REMEMBERED, args![person.to_string(), chat.to_string()]).await?;
        if let Some(memory) = Memory::of_rows(found)? {
            return Ok(memory);
        }
        let begun = self
            .db
            .write(async |connection| {
                let sql = r"
                    INSERT INTO conversations (id, person_id, chat, started_at, summary, summary_until)
                    VALUES (
                        $1, $2, COALESCE((SELECT new_id FROM moved_chats WHERE old_id = $3), $3), $4, '', ''
                    )
                    ON CONFLICT DO NOTHING";
                connection
                    .execute(sql, args![ConversationId::new().to_string(), person.to_string(), chat.to_string(), now.0])
                    .await?;
                connection.fetch_all(REMEMBERED, args![person.to_string(), chat.to_string()]).await
            })
            .await?;
        // Unless it was ended at once.
        Memory::of_rows(begun)?.ok_or(StoreError::Query(sqlx::Error::RowNotFound))
    }

    /// Replaces the lines up to and including `until` by `summary` in what is remembered.
    pub async fn summarise(&self, conversation: ConversationId, summary: &str, until: &str) -> Result<()> {
        let sql = r"
            UPDATE conversations
            SET summary = $1, summary_until = $2
            WHERE id = $3 AND summary_until < $2";
        self.db.execute(sql, args![storable(summary), until, conversation.to_string()]).await?;
        Ok(())
    }

    /// Ends the current conversation: the next message begins a new one. `false` if there was none.
    pub async fn forget(&self, person: PersonId, chat: &ChatId, now: Timestamp) -> Result<bool> {
        self.db
            .exclusive(&[talk_lock(person, chat)], async |tx| {
                let sql = r"
                    UPDATE conversations
                    SET ended_at = $1
                    WHERE person_id = $2 AND chat = $3 AND ended_at IS NULL";
                let ended = tx.execute(sql, args![now.0, person.to_string(), chat.to_string()]).await?;
                Ok(ended > 0)
            })
            .await
    }

    /// Whether the bot has said something in this chat.
    pub async fn has_spoken(&self, chat: &ChatId) -> Result<bool> {
        let row: Option<bool> =
            self.db.fetch_optional_value("SELECT spoken FROM chats WHERE id = $1", args![chat.to_string()]).await?;
        Ok(row == Some(true))
    }

    /// The platform's chats with something new since `since`, newest first, at most `limit`, with the newest
    /// message id stored from each.
    pub async fn active_chats(
        &self,
        platform: Platform,
        since: Timestamp,
        limit: u32,
    ) -> Result<Vec<(ChatId, Option<String>)>> {
        let sql = r"
            SELECT id, last_message
            FROM chats
            WHERE platform = $1 AND last_at >= $2
            ORDER BY last_at DESC
            LIMIT $3";
        let rows: Vec<ActiveChat> = self.db.fetch_all(sql, args![platform.name(), since.0, i64::from(limit)]).await?;
        rows.into_iter().map(|row| Ok((row.id.parse()?, row.last_message))).collect()
    }
}
