//! Chats that got another id: a group on Telegram that became a supergroup. Owns that everything which is kept under
//! the old id goes over to the new one in one transaction, and who was told of it; never decides which of two ids is
//! the newer.
//!
//! Whoever was answering in the chat at that moment knows it by the old id: what they write down later is looked up
//! here.

use crate::clock::Timestamp;
use crate::ids::{ChatId, PersonId};

use super::alerts::owe;
use super::locks::{MONEY, QUEUE, talk_lock};
use super::usage::OR_ADD_TO_PLACES;
use super::{Arg, Conn, Result, Store, args, sql};

/// Moves that are announced at a time.
const ANNOUNCED: i64 = 20;

/// The id under which a chat is known by now. Part of a transaction. Nothing but a group on Telegram gets another one.
pub(super) async fn current_id(tx: &mut Conn<'_>, chat: &ChatId) -> Result<ChatId> {
    if !chat.is_telegram_group() {
        return Ok(chat.clone());
    }
    let sql = "SELECT new_id FROM moved_chats WHERE old_id = $1";
    let id: Option<String> = tx.fetch_optional_value(sql, args![chat.to_string()]).await?;
    Ok(id.map(|id| id.parse()).transpose()?.unwrap_or_else(|| chat.clone()))
}

/// What goes over: `$1` the old id, `$2` the new one, `$3` the time; each takes as many as it names. Message ids of the
/// old chat mean nothing in the new one, so they are forgotten: but for those that name their chat (`-1001:57`), which
/// were sent there already.
const CARRY: [&str; 19] = [
    r"
        INSERT INTO chats (id, platform, last_message, last_at, spoken, guild)
        SELECT $2, platform, NULL, last_at, spoken, guild
        FROM chats
        WHERE id = $1
        ON CONFLICT (id)
        DO UPDATE SET spoken = (chats.spoken OR excluded.spoken),
            last_at = CASE
                WHEN chats.last_at > excluded.last_at THEN chats.last_at
                ELSE excluded.last_at
            END",
    "DELETE FROM chats WHERE id = $1",
    r"
        UPDATE turns
        SET chat = $2, reply_to = NULL, shown = CASE WHEN shown LIKE '%:%' THEN shown ELSE '[]' END
        WHERE chat = $1",
    r"
        UPDATE boards
        SET chat = $2, reply_to = NULL,
            message = CASE WHEN message LIKE '%:%' THEN message ELSE NULL END,
            posted_at = CASE WHEN message LIKE '%:%' THEN posted_at ELSE NULL END,
            shown = CASE WHEN message LIKE '%:%' THEN shown ELSE '' END
        WHERE chat = $1",
    "UPDATE subscriptions SET chat = $2, reply_to = NULL WHERE chat = $1",
    r"
        UPDATE retries
        SET conversation_id = (
            SELECT n.id
            FROM conversations o
            JOIN conversations n ON n.person_id = o.person_id AND n.chat = $2 AND n.ended_at IS NULL
            WHERE o.id = retries.conversation_id
        )
        WHERE chat = $1
            AND conversation_id IN (
                SELECT o.id
                FROM conversations o
                JOIN conversations n ON n.person_id = o.person_id AND n.chat = $2 AND n.ended_at IS NULL
                WHERE o.chat = $1 AND o.ended_at IS NULL
            )",
    "UPDATE retries SET chat = $2 WHERE chat = $1",
    // Who has begun a new conversation under the new id already goes on with it, and with what was said before.
    r"
        UPDATE messages
        SET conversation_id = (
            SELECT n.id
            FROM conversations o
            JOIN conversations n ON n.person_id = o.person_id AND n.chat = $2 AND n.ended_at IS NULL
            WHERE o.id = messages.conversation_id
        )
        WHERE conversation_id IN (
            SELECT o.id
            FROM conversations o
            JOIN conversations n ON n.person_id = o.person_id AND n.chat = $2 AND n.ended_at IS NULL
            WHERE o.chat = $1 AND o.ended_at IS NULL
        )",
    r"
        UPDATE conversations
        SET (started_at, summary, summary_until) = (
            SELECT o.started_at, o.summary, o.summary_until
            FROM conversations o
            WHERE o.person_id = conversations.person_id AND o.chat = $1 AND o.ended_at IS NULL
        )
        WHERE chat = $2
            AND ended_at IS NULL
            AND summary = ''
            AND EXISTS (
                SELECT 1
                FROM conversations o
                WHERE o.person_id = conversations.person_id AND o.chat = $1 AND o.ended_at IS NULL
            )",
    r"
        UPDATE conversations
        SET ended_at = $3
        WHERE chat = $1
            AND ended_at IS NULL
            AND EXISTS (
                SELECT 1
                FROM conversations n
                WHERE n.person_id = conversations.person_id AND n.chat = $2 AND n.ended_at IS NULL
            )",
    "UPDATE conversations SET chat = $2 WHERE chat = $1",
    sql!(
        r"
            INSERT INTO usage_places (
                days, first_day, person_id, chat, guild, calls, failed, input_tokens, cached_tokens,
                cache_write_tokens, output_tokens, reasoning_tokens, micro_usd, called_off,
                estimated_micro_usd
            )
            SELECT days, first_day, person_id, $2, guild, calls, failed, input_tokens, cached_tokens,
                cache_write_tokens, output_tokens, reasoning_tokens, micro_usd, called_off,
                estimated_micro_usd
            FROM usage_places
            WHERE chat = $1",
        OR_ADD_TO_PLACES
    ),
    "DELETE FROM usage_places WHERE chat = $1",
    // What has ended keeps the id under which it was paid. What is reserved, or may still be told more exactly, ends
    // under the new one.
    "UPDATE ledger SET chat = $2 WHERE reserved_until IS NOT NULL AND chat = $1",
    "UPDATE ledger SET chat = $2 WHERE at > $3 - 86400000 AND chat = $1",
    "UPDATE moved_chats SET new_id = $2 WHERE new_id = $1",
    // A budget that was set for the new id is the later word.
    r"
        UPDATE budgets
        SET scope = 'chat:' || $2
        WHERE scope = 'chat:' || $1
            AND NOT EXISTS (
                SELECT 1
                FROM budgets b
                WHERE b.scope = 'chat:' || $2 AND b.span = budgets.span
            )",
    r"
        INSERT INTO spending (scope, period, micro_usd, reserved, alerted, announced)
        SELECT 'chat:' || $2, period, micro_usd, reserved, alerted, announced
        FROM spending
        WHERE scope = 'chat:' || $1
        ON CONFLICT (scope, period)
        DO UPDATE SET micro_usd = spending.micro_usd + excluded.micro_usd,
            reserved = spending.reserved + excluded.reserved,
            alerted = CASE
                WHEN spending.alerted > excluded.alerted THEN spending.alerted
                ELSE excluded.alerted
            END,
            announced = CASE
                WHEN spending.announced > excluded.announced THEN spending.announced
                ELSE excluded.announced
            END",
    "DELETE FROM spending WHERE scope = 'chat:' || $1",
];

impl Store {
    /// A chat is known under another id from now on, and everything that is kept under the old one goes over to it:
    /// memory, what is owed, boards, budgets and what is spent. `false` if that was known.
    pub async fn move_chat(&self, from: &ChatId, to: &ChatId, now: Timestamp) -> Result<bool> {
        if from == to || self.current_id(from).await? != *from {
            return Ok(false);
        }
        let mut locks: Vec<String> = ["moved chats", MONEY, QUEUE, "turns"].map(str::to_owned).into();
        locks.extend(self.people_waiting_in(from).await?.into_iter().map(|person| talk_lock(person, from)));
        let moved = self.db.exclusive(&locks, async |tx| move_chat(tx, from, to, now).await).await?;
        if moved {
            self.turns_changed();
        }
        Ok(moved)
    }

    /// The id under which a chat is known by now: its own, unless it got another one.
    pub async fn current_id(&self, chat: &ChatId) -> Result<ChatId> {
        let row: Option<String> = self
            .db
            .fetch_optional_value("SELECT new_id FROM moved_chats WHERE old_id = $1", args![chat.to_string()])
            .await?;
        Ok(row.map(|id| id.parse()).transpose()?.unwrap_or_else(|| chat.clone()))
    }

    /// The other ids under which a chat was or is known.
    pub async fn other_ids(&self, chat: &ChatId) -> Result<Vec<ChatId>> {
        let sql = r"
            SELECT new_id
            FROM moved_chats
            WHERE old_id = $1
            UNION
            SELECT old_id
            FROM moved_chats
            WHERE new_id = COALESCE((SELECT new_id FROM moved_chats WHERE old_id = $1), $1)
                AND old_id <> $1";
        let rows: Vec<String> = self.db.fetch_values(sql, args![chat.to_string()]).await?;
        rows.into_iter().map(|id| Ok(id.parse()?)).collect()
    }

    /// Owes the alert chats a word on each chat that got another id since the last time; `say` puts the old and the new
    /// id into an answer as JSON. Each is told once, whoever dies.
    pub async fn announce_moves(
        &self,
        chats: &[(PersonId, ChatId)],
        now: Timestamp,
        say: impl Fn(&str, &str) -> String,
    ) -> Result<()> {
        #[derive(sqlx::FromRow)]
        struct ChatMove {
            old_id: String,
            new_id: String,
        }
        let sql = "SELECT COUNT(*) FROM moved_chats WHERE NOT announced";
        let unannounced: i64 = self.db.fetch_value(sql, args![]).await?;
        if unannounced == 0 {
            return Ok(());
        }
        let announce = async |tx: &mut Conn<'_>| {
            let sql = "SELECT old_id, new_id FROM moved_chats WHERE NOT announced ORDER BY at, old_id LIMIT $1";
            let moves: Vec<ChatMove> = tx.fetch_all(sql, args![ANNOUNCED]).await?;
            for ChatMove { old_id, .. } in &moves {
                tx.execute("UPDATE moved_chats SET announced = TRUE WHERE old_id = $1", args![old_id]).await?;
            }
            let says: Vec<String> = moves.iter().map(|moved| say(&moved.old_id, &moved.new_id)).collect();
            owe(tx, chats, &says, now).await
        };
        self.db.exclusive(&["alerts"], announce).await?;
        self.turns_changed();
        Ok(())
    }

    /// Who is owed an answer in a chat.
    async fn people_waiting_in(&self, chat: &ChatId) -> Result<Vec<PersonId>> {
        let sql = r"
            SELECT DISTINCT person_id
            FROM turns
            WHERE chat = $1 AND state <> 'closed'
            ORDER BY person_id";
        let rows: Vec<String> = self.db.fetch_values(sql, args![chat.to_string()]).await?;
        rows.into_iter().map(|person| Ok(person.parse()?)).collect()
    }
}

async fn move_chat(tx: &mut Conn<'_>, from: &ChatId, to: &ChatId, now: Timestamp) -> Result<bool> {
    let to = current_id(tx, to).await?;
    if to == *from || current_id(tx, from).await? != *from {
        return Ok(false);
    }
    let (old, new) = (from.to_string(), to.to_string());
    for statement in CARRY {
        let mut args = vec![Arg::from(&old)];
        if statement.contains("$2") {
            args.push(Arg::from(&new));
        }
        if statement.contains("$3") {
            args.push(Arg::from(now.0));
        }
        tx.execute(statement, &args).await?;
    }
    let sql = "INSERT INTO moved_chats (old_id, new_id, at, announced) VALUES ($1, $2, $3, FALSE)";
    tx.execute(sql, args![old, new, now.0]).await?;
    Ok(true)
}
