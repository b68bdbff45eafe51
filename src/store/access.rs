//! Who is kept out, who came in by an invitation, whether the bot pauses, and what admins have set of the limits. Owns
//! these rows; who may use the bot is decided above.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::ids::{ChangeId, ChatId, GuildId, PersonId, Platform};

use super::{Result, Store, StoreError, exclusive, read, storable, write};

/// What the database knows of somebody at the door.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// `None`: the account has never been let in, and nobody has named it.
    pub person: Option<PersonId>,
    /// The account's display name when it was last seen.
    pub name: String,
    pub blocked: bool,
    /// Only in the community that was asked about.
    pub blocked_here: bool,
    /// By an invitation.
    pub admitted: bool,
}

/// Somebody who is kept out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pub person: PersonId,
    /// Only there; `None`: everywhere.
    pub guild: Option<GuildId>,
    pub reason: String,
    /// `platform:account`.
    pub admin: String,
    pub at: Timestamp,
    /// The person's accounts, as `platform:account`.
    pub accounts: Vec<String>,
}

/// What became of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redeemed {
    Yes,
    /// They are in already; the code keeps its use.
    Already,
    /// Unknown, used up or expired.
    No,
}

/// An invitation that still lets people in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    pub code_hash: String,
    /// 1 and more.
    pub uses_left: i64,
    pub until: Timestamp,
    /// `platform:account`.
    pub admin: String,
    pub at: Timestamp,
}

/// The pause of the whole bot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// May be empty.
    pub reason: String,
    pub at: Timestamp,
}

/// A limit that admins may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitName {
    /// Seconds between two new reels of one person.
    Spacing,
    /// New reels that may wait for one person.
    Waiting,
    /// Reels that may wait in all.
    Line,
}

impl LimitName {
    pub const ALL: [LimitName; 3] = [LimitName::Spacing, LimitName::Waiting, LimitName::Line];

    /// The name in the database and in `/limits`.
    pub fn name(self) -> &'static str {
        match self {
            LimitName::Spacing => "spacing",
            LimitName::Waiting => "waiting",
            LimitName::Line => "line",
        }
    }
}

/// One change that an admin made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub at: Timestamp,
    /// `platform:account`.
    pub admin: String,
    pub change: String,
}

/// What a person did in a span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    pub messages: i64,
    pub reels: i64,
}

impl Store {
    /// What is known of an account, and of it in this community.
    pub async fn known(&self, platform: Platform, account: &str, guild: Option<&GuildId>) -> Result<Known> {
        let row: Option<(String, String, i64, i64, i64)> = read!(&self.db, connection => sqlx::query_as(
                "SELECT a.person_id, a.name, \
                 (SELECT COUNT(*) FROM blocks b WHERE b.person_id = a.person_id AND b.guild = ''), \
                 (SELECT COUNT(*) FROM blocks b WHERE b.person_id = a.person_id AND b.guild = $3), \
                 (SELECT COUNT(*) FROM admissions m WHERE m.person_id = a.person_id) \
                 FROM accounts a WHERE a.platform = $1 AND a.account = $2")
            .bind(platform.name())
            .bind(account)
            .bind(scope(guild).unwrap_or_else(|| "-".into()))
            .fetch_optional(connection)
            .await)?;
        let Some((person, name, everywhere, here, admitted)) = row else { return Ok(Known::default()) };
        Ok(Known {
            person: Some(person.parse()?),
            name,
            blocked: everywhere > 0,
            blocked_here: here > 0,
            admitted: admitted > 0,
        })
    }

    /// Whether a person is kept out of a chat: everywhere, or in its community.
    pub async fn is_blocked(&self, person: PersonId, chat: &ChatId) -> Result<bool> {
        let (count,): (i64,) = read!(&self.db, connection => sqlx::query_as(
                "SELECT COUNT(*) FROM blocks WHERE person_id = $1 \
                 AND (guild = '' OR guild = (SELECT guild FROM chats WHERE id = $2))")
            .bind(person.to_string())
            .bind(chat.to_string())
            .fetch_one(connection)
            .await)?;
        Ok(count > 0)
    }

    /// Keeps a person out, everywhere or in one community; what was set before gives way. The boards of their waiting
    /// reels say `told` from now on, where nobody else reads them.
    pub async fn block(
        &self,
        person: PersonId,
        guild: Option<&GuildId>,
        reason: &str,
        admin: &str,
        told: &str,
        now: Timestamp,
    ) -> Result<()> {
        exclusive!(&self.db, ["blocks"], tx => {
            sqlx::query(
                    "INSERT INTO blocks (person_id, guild, reason, admin, at) VALUES ($1, $2, $3, $4, $5) \
                     ON CONFLICT (person_id, guild) DO UPDATE SET reason = excluded.reason, admin = excluded.admin, at = excluded.at")
                .bind(person.to_string())
                .bind(scope(guild).unwrap_or_default())
                .bind(storable(reason))
                .bind(admin)
                .bind(now.0)
                .execute(&mut *tx)
                .await?;
            sqlx::query(
                    "UPDATE boards SET note = CASE WHEN chat LIKE 'telegram:-%' \
                     OR EXISTS (SELECT 1 FROM chats c WHERE c.id = boards.chat AND c.guild IS NOT NULL) THEN '' ELSE $1 END \
                     WHERE person_id = $2 AND state = 'open' AND ($3 = '' OR chat IN (SELECT id FROM chats WHERE guild = $3))")
                .bind(told)
                .bind(person.to_string())
                .bind(scope(guild).unwrap_or_default())
                .execute(&mut *tx)
                .await?;
            Ok(())
        })
    }

    /// Lets a person in again, in one community or everywhere; `false` if they were not kept out.
    pub async fn unblock(&self, person: PersonId, guild: Option<&GuildId>) -> Result<bool> {
        let changed = write!(&self.db, connection => sqlx::query("DELETE FROM blocks WHERE person_id = $1 AND ($2 IS NULL OR guild = $2)")
            .bind(person.to_string())
            .bind(scope(guild))
            .execute(connection)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(changed > 0)
    }

    /// How many are kept out; with a community only of it.
    pub async fn count_blocks(&self, guild: Option<&GuildId>) -> Result<usize> {
        let (count,): (i64,) = read!(&self.db, connection => sqlx::query_as("SELECT COUNT(*) FROM blocks WHERE ($1 IS NULL OR guild = $1)")
            .bind(scope(guild))
            .fetch_one(connection)
            .await)?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// Who is kept out, the latest first; with a community only those kept out of it alone.
    pub async fn blocks(&self, guild: Option<&GuildId>, limit: u32) -> Result<Vec<Block>> {
        let rows: Vec<(String, String, String, String, i64)> = read!(&self.db, connection => sqlx::query_as(
                "SELECT person_id, guild, reason, admin, at FROM blocks WHERE ($1 IS NULL OR guild = $1) \
                 ORDER BY at DESC, person_id LIMIT $2")
            .bind(scope(guild))
            .bind(i64::from(limit))
            .fetch_all(connection)
            .await)?;
        let mut blocks = Vec::with_capacity(rows.len());
        for (person, guild, reason, admin, at) in rows {
            let person: PersonId = person.parse()?;
            let guild = Some(guild).filter(|guild| !guild.is_empty()).map(|guild| guild.parse()).transpose()?;
            let accounts = self.accounts(person).await?;
            blocks.push(Block { person, guild, reason, admin, at: Timestamp(at), accounts });
        }
        Ok(blocks)
    }

    /// The accounts of a person, as `platform:account`.
    pub async fn accounts(&self, person: PersonId) -> Result<Vec<String>> {
        let rows: Vec<(String, String)> = read!(&self.db, connection => sqlx::query_as(
                "SELECT platform, account FROM accounts WHERE person_id = $1 ORDER BY created_at, platform")
            .bind(person.to_string())
            .fetch_all(connection)
            .await)?;
        Ok(rows.into_iter().map(|(platform, account)| format!("{platform}:{account}")).collect())
    }

    /// Accounts of this name, whatever its case; `platform:account`. Names are nobody's own: never act on one.
    pub async fn accounts_named(&self, name: &str, limit: u32) -> Result<Vec<String>> {
        let rows: Vec<(String, String)> = read!(&self.db, connection => sqlx::query_as(
                "SELECT platform, account FROM accounts WHERE LOWER(name) = LOWER($1) ORDER BY created_at DESC LIMIT $2")
            .bind(storable(name))
            .bind(i64::from(limit))
            .fetch_all(connection)
            .await)?;
        Ok(rows.into_iter().map(|(platform, account)| format!("{platform}:{account}")).collect())
    }

    /// Makes an invitation of this many uses, valid until then. Only the code's hash is kept.
    pub async fn invite(
        &self,
        code_hash: &str,
        uses: u32,
        until: Timestamp,
        admin: &str,
        now: Timestamp,
    ) -> Result<()> {
        write!(&self.db, connection => sqlx::query(
                "INSERT INTO invites (code_hash, uses_left, until, admin, at) VALUES ($1, $2, $3, $4, $5)")
            .bind(code_hash)
            .bind(i64::from(uses))
            .bind(until.0)
            .bind(admin)
            .bind(now.0)
            .execute(connection)
            .await
            .map(|_| ()))?;
        Ok(())
    }

    /// The invitations that are open at `now`, those that end first before the others.
    pub async fn invites(&self, now: Timestamp, limit: u32) -> Result<Vec<Invite>> {
        let rows: Vec<InviteRow> = read!(&self.db, connection => sqlx::query_as(
                "SELECT code_hash, uses_left, until, admin, at FROM invites WHERE uses_left > 0 AND until > $1 \
                 ORDER BY until, code_hash LIMIT $2")
            .bind(now.0)
            .bind(i64::from(limit))
            .fetch_all(connection)
            .await)?;
        Ok(rows.into_iter().map(invite).collect())
    }

    /// Takes an open invitation back, by its code's hash or at least the first 8 characters of it: from now on it lets
    /// nobody in. As it stood; `None`: there is none, or more than one begins like that.
    pub async fn revoke_invite(&self, hash: &str, now: Timestamp) -> Result<Option<Invite>> {
        let row: Option<InviteRow> = write!(&self.db, connection => sqlx::query_as(
                "DELETE FROM invites WHERE code_hash = (SELECT MIN(code_hash) FROM invites \
                 WHERE SUBSTR(code_hash, 1, LENGTH($1)) = $1 AND LENGTH($1) >= 8 AND uses_left > 0 AND until > $2 \
                 HAVING COUNT(*) = 1) RETURNING code_hash, uses_left, until, admin, at")
            .bind(storable(hash))
            .bind(now.0)
            .fetch_optional(connection)
            .await)?;
        Ok(row.map(invite))
    }

    /// Takes one use of an invitation and lets the person in, in one transaction: never more than it has uses, and never
    /// two for one person.
    pub async fn redeem(&self, code_hash: &str, person: PersonId, now: Timestamp) -> Result<Redeemed> {
        exclusive!(&self.db, [format!("invite:{code_hash}"), format!("admission:{person}")], tx => {
            let there: Option<(String,)> = sqlx::query_as("SELECT person_id FROM admissions WHERE person_id = $1")
                .bind(person.to_string())
                .fetch_optional(&mut *tx)
                .await?;
            if there.is_some() {
                return Ok(Redeemed::Already);
            }
            let taken = sqlx::query(
                    "UPDATE invites SET uses_left = uses_left - 1 WHERE code_hash = $1 AND uses_left > 0 AND until > $2")
                .bind(code_hash)
                .bind(now.0)
                .execute(&mut *tx)
                .await?;
            if taken.rows_affected() == 0 {
                return Ok(Redeemed::No);
            }
            sqlx::query("INSERT INTO admissions (person_id, code_hash, at) VALUES ($1, $2, $3)")
                .bind(person.to_string())
                .bind(code_hash)
                .bind(now.0)
                .execute(&mut *tx)
                .await?;
            Ok(Redeemed::Yes)
        })
    }

    /// Whether something may be told now that is told only so many `times` within a span; if so, it counts as told.
    pub async fn may_tell(&self, who: &str, what: &str, times: u32, within: Duration, now: Timestamp) -> Result<bool> {
        let before = (now - within).0;
        let changed = write!(&self.db, connection => sqlx::query(
                "INSERT INTO notices (who, what, since, times) VALUES ($1, $2, $3, 1) \
                 ON CONFLICT (who, what) DO UPDATE SET \
                 times = CASE WHEN notices.since <= $4 THEN 1 ELSE notices.times + 1 END, \
                 since = CASE WHEN notices.since <= $4 THEN $3 ELSE notices.since END \
                 WHERE notices.since <= $4 OR notices.times < $5")
            .bind(who)
            .bind(what)
            .bind(now.0)
            .bind(before)
            .bind(i64::from(times))
            .execute(connection)
            .await
            .map(|done| done.rows_affected()))?;
        Ok(changed == 1)
    }

    /// The pause that is in force, if any.
    pub async fn pause(&self) -> Result<Option<Pause>> {
        let row: Option<(String, i64)> = read!(&self.db, connection => sqlx::query_as("SELECT reason, at FROM pause WHERE id = 1")
            .fetch_optional(connection)
            .await)?;
        Ok(row.map(|(reason, at)| Pause { reason, at: Timestamp(at) }))
    }

    /// Pauses the whole bot, on every instance.
    pub async fn pause_all(&self, reason: &str, admin: &str, now: Timestamp) -> Result<()> {
        write!(&self.db, connection => sqlx::query(
                "INSERT INTO pause (id, reason, admin, at) VALUES (1, $1, $2, $3) \
                 ON CONFLICT (id) DO UPDATE SET reason = excluded.reason, admin = excluded.admin")
            .bind(storable(reason))
            .bind(admin)
            .bind(now.0)
            .execute(connection)
            .await
            .map(|_| ()))?;
        self.jobs_changed().await;
        Ok(())
    }

    /// Lets the bot go on; `false` if it did not pause.
    pub async fn resume_all(&self) -> Result<bool> {
        let changed = write!(&self.db, connection => sqlx::query("DELETE FROM pause")
            .execute(connection)
            .await
            .map(|done| done.rows_affected()))?;
        self.jobs_changed().await;
        self.turns_changed();
        Ok(changed > 0)
    }

    /// The limits that admins have set.
    pub async fn set_limits(&self) -> Result<Vec<(LimitName, i64)>> {
        let rows: Vec<(String, i64)> = read!(&self.db, connection => sqlx::query_as("SELECT name, value FROM limits").fetch_all(connection).await)?;
        rows.into_iter()
            .map(|(name, value)| {
                let known = LimitName::ALL.into_iter().find(|limit| limit.name() == name);
                Ok((known.ok_or(StoreError::Corrupt("limits.name"))?, value))
            })
            .collect()
    }

    /// Sets a limit, or with `None` gives it back to the configuration.
    pub async fn set_limit(&self, limit: LimitName, value: Option<u32>) -> Result<()> {
        write!(&self.db, connection => match value {
            Some(value) => sqlx::query(
                    "INSERT INTO limits (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value")
                .bind(limit.name())
                .bind(i64::from(value))
                .execute(connection)
                .await
                .map(|_| ()),
            None => sqlx::query("DELETE FROM limits WHERE name = $1").bind(limit.name()).execute(connection).await.map(|_| ()),
        })?;
        Ok(())
    }

    /// Notes what was changed in a community, or with `None` of the whole bot.
    pub async fn note_change_in(
        &self,
        guild: Option<&GuildId>,
        admin: &str,
        change: &str,
        at: Timestamp,
    ) -> Result<()> {
        write!(&self.db, connection => sqlx::query("INSERT INTO audit (id, at, admin, change, guild) VALUES ($1, $2, $3, $4, $5)")
            .bind(ChangeId::new().to_string())
            .bind(at.0)
            .bind(admin)
            .bind(storable(change))
            .bind(scope(guild))
            .execute(connection)
            .await
            .map(|_| ()))?;
        Ok(())
    }

    /// Changes since then, newest first, without the first `skip`; with a community only those that concern it.
    pub async fn changes_since(
        &self,
        guild: Option<&GuildId>,
        since: Timestamp,
        skip: u32,
        limit: u32,
    ) -> Result<Vec<Change>> {
        let rows: Vec<(i64, String, String)> = read!(&self.db, connection => sqlx::query_as(
                "SELECT at, admin, change FROM audit WHERE ($1 IS NULL OR guild = $1) AND at >= $2 \
                 ORDER BY id DESC LIMIT $3 OFFSET $4")
            .bind(scope(guild))
            .bind(since.0)
            .bind(i64::from(limit))
            .bind(i64::from(skip))
            .fetch_all(connection)
            .await)?;
        Ok(rows.into_iter().map(|(at, admin, change)| Change { at: Timestamp(at), admin, change }).collect())
    }

    /// The messages that a person wrote to the coach, and the reels they asked for, since then: as far as they are kept.
    pub async fn activity(&self, person: PersonId, since: Timestamp) -> Result<Activity> {
        let (messages, reels): (i64, i64) = read!(&self.db, connection => sqlx::query_as(
                "SELECT (SELECT CAST(COALESCE(SUM(inputs), 0) AS BIGINT) FROM turns WHERE person_id = $1 AND kind = 'talk' \
                 AND NOT aside AND created_at >= $2), \
                 (SELECT COUNT(*) FROM subscriptions WHERE person_id = $1 AND created_at >= $2)")
            .bind(person.to_string())
            .bind(since.0)
            .fetch_one(connection)
            .await)?;
        Ok(Activity { messages, reels })
    }
}

/// Hash, uses, until when, by whom, since when.
type InviteRow = (String, i64, i64, String, i64);

fn invite((code_hash, uses_left, until, admin, at): InviteRow) -> Invite {
    Invite { code_hash, uses_left, until: Timestamp(until), admin, at: Timestamp(at) }
}

/// How a community stands in a row.
fn scope(guild: Option<&GuildId>) -> Option<String> {
    guild.map(ToString::to_string)
}
