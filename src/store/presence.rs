//! Chats in which nothing that the bot says arrives: since when, and which boards stand there with an old state. Decides
//! nothing about what that means for whoever waits there.

use crate::clock::Timestamp;
use crate::ids::ChatScope;

use super::{Result, Store, write};

/// Closes the open boards of a scope; those that are on screen are outdated.
macro_rules! close_boards {
    ($within:literal) => {
        concat!(
            "UPDATE boards SET state = 'closed', outdated = (message IS NOT NULL) WHERE state = 'open' AND ",
            $within
        )
    };
}

/// What names a scope, and its chats and boards by it (`$1`). A forum on Telegram is one chat, and so is each of its topics.
struct Within {
    key: String,
    close_boards: &'static str,
    chats_gone: &'static str,
    open_boards: &'static str,
    chats_back: &'static str,
}

impl Within {
    fn of(scope: &ChatScope) -> Within {
        match scope {
            ChatScope::Chat(chat) => Within {
                key: chat.to_string(),
                close_boards: close_boards!("(chat = $1 OR chat LIKE $1 || '/%')"),
                chats_gone: "UPDATE chats SET gone_since = $2 WHERE gone_since IS NULL AND (id = $1 OR id LIKE $1 || '/%')",
                open_boards: "UPDATE boards SET state = 'open', outdated = FALSE WHERE outdated AND (chat = $1 OR chat LIKE $1 || '/%')",
                chats_back: "UPDATE chats SET gone_since = NULL WHERE gone_since IS NOT NULL AND (id = $1 OR id LIKE $1 || '/%')",
            },
            ChatScope::SendsTo(chat) => Within {
                key: chat.to_string(),
                close_boards: close_boards!("chat = $1 AND (placeholder IS NULL OR chat NOT LIKE 'discord:%')"),
                chats_gone: "UPDATE chats SET gone_since = $2 WHERE gone_since IS NULL AND id = $1",
                open_boards: "UPDATE boards SET state = 'open', outdated = FALSE WHERE outdated AND chat = $1",
                chats_back: "UPDATE chats SET gone_since = NULL WHERE gone_since IS NOT NULL AND id = $1",
            },
            ChatScope::Guild(guild) => Within {
                key: guild.to_string(),
                close_boards: close_boards!("chat IN (SELECT c.id FROM chats c WHERE c.guild = $1)"),
                chats_gone: "UPDATE chats SET gone_since = $2 WHERE gone_since IS NULL AND guild = $1",
                open_boards: "UPDATE boards SET state = 'open', outdated = FALSE WHERE outdated \
                              AND chat IN (SELECT c.id FROM chats c WHERE c.guild = $1)",
                chats_back: "UPDATE chats SET gone_since = NULL WHERE gone_since IS NOT NULL AND guild = $1",
            },
        }
    }
}

impl Store {
    /// Nothing arrives in these chats from now on. Their boards are closed; those on screen are outdated. `false` if all that
    /// was known.
    pub async fn chats_are_gone(&self, scope: &ChatScope, now: Timestamp) -> Result<bool> {
        let within = Within::of(scope);
        let changed = write!(&self.db, connection => {
            let boards = sqlx::query(within.close_boards).bind(&within.key).execute(&mut *connection).await?;
            let chats = sqlx::query(within.chats_gone).bind(&within.key).bind(now.0).execute(connection).await;
            chats.map(|chats| chats.rows_affected() + boards.rows_affected())
        })?;
        Ok(changed > 0)
    }

    /// What is said in these chats arrives again. Outdated boards are open once more, to be brought up to date. `false` if
    /// that was known.
    pub async fn chats_are_back(&self, scope: &ChatScope) -> Result<bool> {
        let within = Within::of(scope);
        let (boards, chats) = write!(&self.db, connection => {
            let boards = sqlx::query(within.open_boards).bind(&within.key).execute(&mut *connection).await?;
            let chats = sqlx::query(within.chats_back).bind(&within.key).execute(connection).await;
            chats.map(|chats| (boards.rows_affected(), chats.rows_affected()))
        })?;
        if boards > 0 {
            self.wake.boards.notify_waiters();
        }
        Ok(boards + chats > 0)
    }
}
