//! Who is kept out, who came in by an invitation, whether the bot pauses, and what admins have set of the limits. Owns
//! these rows; who may use the bot is decided above.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::ids::{ChangeId, ChatId, GuildId, PersonId, Platform};

use super::{Conn, Result, Store, StoreError, args, storable};

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Activity {
    pub messages: i64,
    pub reels: i64,
}

impl Store {
    /// What is known of an account, and of it in this community.
    pub async fn known(&self, platform: Platform, account: &str, guild: Option<&GuildId>) -> Result<Known> {
        #[derive(sqlx::FromRow)]
        struct KnownRow {
            person_id: String,
            name: String,
            everywhere: i64,
            here: i64,
            admitted: i64,
        }
        let sql = r"
            SELECT a.person_id, a.name,
                (SELECT COUNT(*) FROM blocks b WHERE b.person_id = a.person_id AND b.guild = '') AS everywhere,
                (SELECT COUNT(*) FROM blocks b WHERE b.person_id = a.person_id AND b.guild = $3) AS here,
                (SELECT COUNT(*) FROM admissions m WHERE m.person_id = a.person_id) AS admitted
            FROM accounts a
            WHERE a.platform = $1 AND a.account = $2";
        let guild = scope(guild).unwrap_or_else(|| "-".into());
        let row: Option<KnownRow> = self.db.fetch_optional(sql, args![platform.name(), account, guild]).await?;
        let Some(row) = row else { return Ok(Known::default()) };
        Ok(Known {
            person: Some(row.person_id.parse()?),
            name: row.name,
            blocked: row.everywhere > 0,
            blocked_here: row.here > 0,
            admitted: row.admitted > 0,
        })
    }

    /// Whether a person is kept out of a chat: everywhere, or in its community.
    pub async fn is_blocked(&self, person: PersonId, chat: &ChatId) -> Result<bool> {
        let sql = r"
            SELECT COUNT(*)
            FROM blocks
            WHERE person_id = $1 AND (guild = '' OR guild = (SELECT guild FROM chats WHERE id = $2))";
        let count: i64 = self.db.fetch_value(sql, args![person.to_string(), chat.to_string()]).await?;
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
        self.db
            .exclusive(&["blocks"], async |tx| {
                let sql = r"
                    INSERT INTO blocks (person_id, guild, reason, admin, at)
                    VALUES ($1, $2, $3, $4, $5)
                    ON CONFLICT (person_id, guild)
                    DO UPDATE SET reason = excluded.reason, admin = excluded.admin, at = excluded.at";
                tx.execute(
                    sql,
                    args![person.to_string(), scope(guild).unwrap_or_default(), storable(reason), admin, now.0],
                )
                .await?;
                let sql = r"
                    UPDATE boards
                    SET note = CASE
                        WHEN chat LIKE 'telegram:-%'
                            OR EXISTS (
                                SELECT 1
                                FROM chats c
                                WHERE c.id = boards.chat AND c.guild IS NOT NULL
                            ) THEN ''
                        ELSE $1
                    END
                    WHERE person_id = $2
                        AND state = 'open'
                        AND ($3 = '' OR chat IN (SELECT id FROM chats WHERE guild = $3))";
                tx.execute(sql, args![told, person.to_string(), scope(guild).unwrap_or_default()]).await?;
                Ok(())
            })
            .await
    }

    /// Lets a person in again, in one community or everywhere; `false` if they were not kept out.
    pub async fn unblock(&self, person: PersonId, guild: Option<&GuildId>) -> Result<bool> {
        let changed = self
            .db
            .execute(
                "DELETE FROM blocks WHERE person_id = $1 AND ($2 IS NULL OR guild = $2)",
                args![person.to_string(), scope(guild)],
            )
            .await?;
        Ok(changed > 0)
    }

    /// How many are kept out; with a community only of it.
    pub async fn count_blocks(&self, guild: Option<&GuildId>) -> Result<usize> {
        let count: i64 = self
            .db
            .fetch_value("SELECT COUNT(*) FROM blocks WHERE ($1 IS NULL OR guild = $1)", args![scope(guild)])
            .await?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// Who is kept out, the latest first; with a community only those kept out of it alone.
    pub async fn blocks(&self, guild: Option<&GuildId>, limit: u32) -> Result<Vec<Block>> {
        #[derive(sqlx::FromRow)]
        struct BlockRow {
            person_id: String,
            guild: String,
            reason: String,
            admin: String,
            at: i64,
        }
        let sql = r"
            SELECT person_id, guild, reason, admin, at
            FROM blocks
            WHERE ($1 IS NULL OR guild = $1)
            ORDER BY at DESC, person_id
            LIMIT $2";
        let rows: Vec<BlockRow> = self.db.fetch_all(sql, args![scope(guild), i64::from(limit)]).await?;
        let mut blocks = Vec::with_capacity(rows.len());
        for BlockRow { person_id, guild, reason, admin, at } in rows {
            let person: PersonId = person_id.parse()?;
            let guild = Some(guild).filter(|guild| !guild.is_empty()).map(|guild| guild.parse()).transpose()?;
            let accounts = self.accounts(person).await?;
            blocks.push(Block { person, guild, reason, admin, at: Timestamp(at), accounts });
        }
        Ok(blocks)
    }

    /// The accounts of a person, as `platform:account`.
    pub async fn accounts(&self, person: PersonId) -> Result<Vec<String>> {
        let sql = r"
            SELECT platform, account
            FROM accounts
            WHERE person_id = $1
            ORDER BY created_at, platform";
        let rows: Vec<AccountRow> = self.db.fetch_all(sql, args![person.to_string()]).await?;
        Ok(rows.into_iter().map(AccountRow::name).collect())
    }

    /// Accounts of this name, whatever its case; `platform:account`. Names are nobody's own: never act on one.
    pub async fn accounts_named(&self, name: &str, limit: u32) -> Result<Vec<String>> {
        let sql = r"
            SELECT platform, account
            FROM accounts
            WHERE LOWER(name) = LOWER($1)
            ORDER BY created_at DESC
            LIMIT $2";
        let rows: Vec<AccountRow> = self.db.fetch_all(sql, args![storable(name), i64::from(limit)]).await?;
        Ok(rows.into_iter().map(AccountRow::name).collect())
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
        let sql = r"
            INSERT INTO invites (code_hash, uses_left, until, admin, at)
            VALUES ($1, $2, $3, $4, $5)";
        self.db.execute(sql, args![code_hash, i64::from(uses), until.0, admin, now.0]).await?;
        Ok(())
    }

    /// The invitations that are open at `now`, those that end first before the others.
    pub async fn invites(&self, now: Timestamp, limit: u32) -> Result<Vec<Invite>> {
        let sql = r"
            SELECT code_hash, uses_left, until, admin, at
            FROM invites
            WHERE uses_left > 0 AND until > $1
            ORDER BY until, code_hash
            LIMIT $2";
        let rows: Vec<InviteRow> = self.db.fetch_all(sql, args![now.0, i64::from(limit)]).await?;
        Ok(rows.into_iter().map(invite).collect())
    }

    /// Takes an open invitation back, by its code's hash or at least the first 8 characters of it: from now on it lets
    /// nobody in. As it stood; `None`: there is none, or more than one begins like that.
    pub async fn revoke_invite(&self, hash: &str, now: Timestamp) -> Result<Option<Invite>> {
        let sql = r"
            DELETE FROM invites
            WHERE code_hash = (
                SELECT MIN(code_hash)
                FROM invites
                WHERE SUBSTR(code_hash, 1, LENGTH($1)) = $1
                    AND LENGTH($1) >= 8
                    AND uses_left > 0
                    AND until > $2
                HAVING COUNT(*) = 1
            )
            RETURNING code_hash, uses_left, until, admin, at";
        let row: Option<InviteRow> = self
            .db
            .write(async |connection| connection.fetch_optional(sql, args![storable(hash), now.0]).await)
            .await?;
        Ok(row.map(invite))
    }

    /// Takes one use of an invitation and lets the person in, in one transaction: never more than it has uses, and
    /// never two for one person.
    pub async fn redeem(&self, code_hash: &str, person: PersonId, now: Timestamp) -> Result<Redeemed> {
        let locks = [format!("invite:{code_hash}"), format!("admission:{person}")];
        self.db.exclusive(&locks, async |tx| redeem(tx, code_hash, person, now).await).await
    }

    /// Whether something may be told now that is told only so many `times` within a span; if so, it counts as told.
    pub async fn may_tell(&self, who: &str, what: &str, times: u32, within: Duration, now: Timestamp) -> Result<bool> {
        let before = (now - within).0;
        let sql = r"
            INSERT INTO notices (who, what, since, times)
            VALUES ($1, $2, $3, 1)
            ON CONFLICT (who, what)
            DO UPDATE SET times = CASE WHEN notices.since <= $4 THEN 1 ELSE notices.times + 1 END,
                since = CASE WHEN notices.since <= $4 THEN $3 ELSE notices.since END
            WHERE notices.since <= $4 OR notices.times < $5";
        let changed = self.db.execute(sql, args![who, what, now.0, before, i64::from(times)]).await?;
        Ok(changed == 1)
    }

    /// The pause that is in force, if any.
    pub async fn pause(&self) -> Result<Option<Pause>> {
        #[derive(sqlx::FromRow)]
        struct PauseRow {
            reason: String,
            at: i64,
        }
        let row: Option<PauseRow> =
            self.db.fetch_optional("SELECT reason, at FROM pause WHERE id = 1", args![]).await?;
        Ok(row.map(|row| Pause { reason: row.reason, at: Timestamp(row.at) }))
    }

    /// Pauses the whole bot, on every instance.
    pub async fn pause_all(&self, reason: &str, admin: &str, now: Timestamp) -> Result<()> {
        let sql = r"
            INSERT INTO pause (id, reason, admin, at)
            VALUES (1, $1, $2, $3)
            ON CONFLICT (id) DO UPDATE SET reason = excluded.reason, admin = excluded.admin";
        self.db.execute(sql, args![storable(reason), admin, now.0]).await?;
        self.jobs_changed().await;
        Ok(())
    }

    /// Lets the bot go on; `false` if it did not pause.
    pub async fn resume_all(&self) -> Result<bool> {
        let changed = self.db.execute("DELETE FROM pause", args![]).await?;
        self.jobs_changed().await;
        self.turns_changed();
        Ok(changed > 0)
    }

    /// The limits that admins have set.
    pub async fn set_limits(&self) -> Result<Vec<(LimitName, i64)>> {
        #[derive(sqlx::FromRow)]
        struct LimitRow {
            name: String,
            value: i64,
        }
        let rows: Vec<LimitRow> = self.db.fetch_all("SELECT name, value FROM limits", args![]).await?;
        let limit = |row: LimitRow| {
            let known = LimitName::ALL.into_iter().find(|limit| limit.name() == row.name);
            Ok((known.ok_or(StoreError::Corrupt("limits.name"))?, row.value))
        };
        rows.into_iter().map(limit).collect()
    }

    /// Sets a limit, or with `None` gives it back to the configuration.
    pub async fn set_limit(&self, limit: LimitName, value: Option<u32>) -> Result<()> {
        match value {
            Some(value) => {
                let sql = r"
                    INSERT INTO limits (name, value)
                    VALUES ($1, $2)
                    ON CONFLICT (name) DO UPDATE SET value = excluded.value";
                self.db.execute(sql, args![limit.name(), i64::from(value)]).await?
            }
            None => self.db.execute("DELETE FROM limits WHERE name = $1", args![limit.name()]).await?,
        };
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
        self.db
            .execute(
                "INSERT INTO audit (id, at, admin, change, guild) VALUES ($1, $2, $3, $4, $5)",
                args![ChangeId::new().to_string(), at.0, admin, storable(change), scope(guild)],
            )
            .await?;
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
        #[derive(sqlx::FromRow)]
        struct ChangeRow {
            at: i64,
            admin: String,
            change: String,
        }
        let sql = r"
            SELECT at, admin, change
            FROM audit
            WHERE ($1 IS NULL OR guild = $1) AND at >= $2
            ORDER BY id DESC
            LIMIT $3 OFFSET $4";
        let args = args![scope(guild), since.0, i64::from(limit), i64::from(skip)];
        let rows: Vec<ChangeRow> = self.db.fetch_all(sql, args).await?;
        let change = |ChangeRow { at, admin, change }| Change { at: Timestamp(at), admin, change };
        Ok(rows.into_iter().map(change).collect())
    }

    /// The messages that a person wrote to the coach, and the reels they asked for, since then: as far as they are
    /// kept.
    pub async fn activity(&self, person: PersonId, since: Timestamp) -> Result<Activity> {
        let sql = r"
            SELECT
                (
                    SELECT CAST(COALESCE(SUM(inputs), 0) AS BIGINT)
                    FROM turns
                    WHERE person_id = $1 AND kind = 'talk' AND NOT aside AND created_at >= $2
                ) AS messages,
                (SELECT COUNT(*) FROM subscriptions WHERE person_id = $1 AND created_at >= $2) AS reels";
        self.db.fetch_one(sql, args![person.to_string(), since.0]).await
    }
}

#[derive(sqlx::FromRow)]
struct InviteRow {
    code_hash: String,
    uses_left: i64,
    until: i64,
    admin: String,
    at: i64,
}

fn invite(row: InviteRow) -> Invite {
    let InviteRow { code_hash, uses_left, until, admin, at } = row;
    Invite { code_hash, uses_left, until: Timestamp(until), admin, at: Timestamp(at) }
}

#[derive(sqlx::FromRow)]
struct AccountRow {
    platform: String,
    account: String,
}

impl AccountRow {
    /// `platform:account`.
    fn name(self) -> String {
        format!("{}:{}", self.platform, self.account)
    }
}

async fn redeem(tx: &mut Conn<'_>, code_hash: &str, person: PersonId, now: Timestamp) -> Result<Redeemed> {
    let person = person.to_string();
    let sql = "SELECT person_id FROM admissions WHERE person_id = $1";
    let there: Option<String> = tx.fetch_optional_value(sql, args![&person]).await?;
    if there.is_some() {
        return Ok(Redeemed::Already);
    }
    let sql = "UPDATE invites SET uses_left = uses_left - 1 WHERE code_hash = $1 AND uses_left > 0 AND until > $2";
    if tx.execute(sql, args![code_hash, now.0]).await? == 0 {
        return Ok(Redeemed::No);
    }
    let sql = "INSERT INTO admissions (person_id, code_hash, at) VALUES ($1, $2, $3)";
    tx.execute(sql, args![person, code_hash, now.0]).await?;
    Ok(Redeemed::Yes)
}

/// How a community stands in a row.
fn scope(guild: Option<&GuildId>) -> Option<String> {
    guild.map(ToString::to_string)
}
