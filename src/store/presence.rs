//! Chats in which nothing that the bot says arrives: since when, and which boards stand there with an old state.
//! Decides nothing about what that means for whoever waits there.

use sqlx::AssertSqlSafe;

use crate::clock::Timestamp;
use crate::ids::ChatScope;

use super::{Result, Store, args};

/// What names a scope, and its chats and boards by it (`$1`).
struct Within {
    key: String,
    chats: &'static str,
    boards: &'static str,
    /// Those of the boards on which nothing arrives any more.
    lost_boards: &'static str,
}

impl Within {
    fn of(scope: &ChatScope) -> Within {
        let (key, chats, boards, lost_boards) = match scope {
            // A forum on Telegram is one chat, and so is each of its topics.
            ChatScope::Chat(chat) => {
                let boards = "(chat = $1 OR chat LIKE $1 || '/%')";
                (chat.to_string(), "(id = $1 OR id LIKE $1 || '/%')", boards, boards)
            }
            // On Discord an answer to a command arrives where a message does not.
            ChatScope::SendsTo(chat) => {
                let lost_boards = "chat = $1 AND (placeholder IS NULL OR chat NOT LIKE 'discord:%')";
                (chat.to_string(), "id = $1", "chat = $1", lost_boards)
            }
            ChatScope::Guild(guild) => {
                let boards = "chat IN (SELECT c.id FROM chats c WHERE c.guild = $1)";
                (guild.to_string(), "guild = $1", boards, boards)
            }
        };
        Within { key, chats, boards, lost_boards }
    }
}

impl Store {
    /// Nothing arrives in these chats from now on. Their boards are closed; those on screen are outdated. `false` if
    /// all that was known.
    pub async fn chats_are_gone(&self, scope: &ChatScope, now: Timestamp) -> Result<bool> {
        let Within { key, chats, lost_boards, .. } = Within::of(scope);
        let close_boards = format!(
            r"
                UPDATE boards
                SET state = 'closed', outdated = (message IS NOT NULL)
                WHERE state = 'open' AND {lost_boards}"
        );
        let note_chats = format!("UPDATE chats SET gone_since = $2 WHERE gone_since IS NULL AND {chats}");
        let changed = self
            .db
            .write(async |connection| {
                let boards = connection.execute(AssertSqlSafe(close_boards), args![&key]).await?;
                Ok(boards + connection.execute(AssertSqlSafe(note_chats), args![&key, now.0]).await?)
            })
            .await?;
        Ok(changed > 0)
    }

    /// What is said in these chats arrives again. Outdated boards are open once more, to be brought up to date. `false`
    /// if that was known.
    pub async fn chats_are_back(&self, scope: &ChatScope) -> Result<bool> {
        let Within { key, chats, boards, .. } = Within::of(scope);
        let open_boards = format!("UPDATE boards SET state = 'open', outdated = FALSE WHERE outdated AND {boards}");
        let note_chats = format!("UPDATE chats SET gone_since = NULL WHERE gone_since IS NOT NULL AND {chats}");
        let (boards, chats) = self
            .db
            .write(async |connection| {
                let boards = connection.execute(AssertSqlSafe(open_boards), args![&key]).await?;
                Ok((boards, connection.execute(AssertSqlSafe(note_chats), args![&key]).await?))
            })
            .await?;
        if boards > 0 {
            self.wake.boards.notify_waiters();
        }
        Ok(boards + chats > 0)
    }
}
