//! The ledger: every paid call once. What reports read are the sums that are kept with it (usage).

use crate::clock::Timestamp;
use crate::ids::{GuildId, InstanceId};
use crate::upstream::STARTED;

use super::budgets::{Funds, Moved, Span, Spend, Standing, guild_of, read_guild, spend};
use super::instances::ALIVE;
use super::locks::MONEY;
use super::moves::current_id;
pub use super::usage::Entry;
use super::usage::{Stood, changes, roll_up, settled};
use super::{Conn, Result, Store, args};

/// Writes a call of a chat in this community over what `stood` there, and moves the sums by what is new of it; `None`
/// if nothing was. Part of a transaction. `hold`: it is only reserved; `confirm_at`: when its cost is asked for again.
async fn write_entry(
    tx: &mut Conn<'_>,
    entry: &Entry<'_>,
    stood: Option<Stood>,
    guild: Option<GuildId>,
    hold: Option<Hold>,
    confirm_at: Option<Timestamp>,
) -> Result<Option<Moved>> {
    let count = |tokens: u64| i64::try_from(tokens).unwrap_or(i64::MAX);
    let reserved = if hold.is_some() { entry.micro_usd } else { 0 };
    let sql = r"
        INSERT INTO ledger (key, at, person_id, platform, chat, provider, model, tool, input_tokens, cached_tokens,
            cache_write_tokens, output_tokens, reasoning_tokens, micro_usd, price_version, estimated, latency_ms,
            outcome, reserved_until, guild, reserved, confirm_at, instance)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22,
            $23)
        ON CONFLICT (key) DO UPDATE SET
            model = excluded.model,
            input_tokens = excluded.input_tokens,
            cached_tokens = excluded.cached_tokens,
            cache_write_tokens = excluded.cache_write_tokens,
            output_tokens = excluded.output_tokens,
            reasoning_tokens = excluded.reasoning_tokens,
            micro_usd = excluded.micro_usd,
            price_version = excluded.price_version,
            estimated = excluded.estimated,
            latency_ms = excluded.latency_ms,
            outcome = excluded.outcome,
            reserved_until = excluded.reserved_until,
            reserved = excluded.reserved,
            confirm_at = excluded.confirm_at
        WHERE ledger.outcome IN ('started', 'lost') OR (ledger.estimated AND NOT excluded.estimated)";
    let args = args![
        entry.key,
        entry.at.0,
        entry.person.to_string(),
        entry.chat.platform.name(),
        entry.chat.to_string(),
        entry.provider.name(),
        entry.model,
        entry.tool,
        count(entry.usage.input_tokens),
        count(entry.usage.cached_tokens),
        count(entry.usage.cache_write_tokens),
        count(entry.usage.output_tokens),
        count(entry.usage.reasoning_tokens),
        entry.micro_usd,
        entry.price_version,
        entry.usage.estimated,
        entry.latency_ms,
        entry.outcome,
        hold.map(|hold| hold.until.0),
        guild.as_ref().map(ToString::to_string),
        reserved,
        confirm_at.map(|at| at.0),
        hold.and_then(|hold| hold.by).map(|instance| instance.to_string()),
    ];
    if tx.execute(sql, args).await? == 0 {
        return Ok(None);
    }
    // The sums are those of when the call began.
    let (at, counted, was_reserved) =
        stood.as_ref().map_or((entry.at.0, 0, 0), |stood| (stood.at, stood.micro_usd, stood.reserved));
    let moved = Spend {
        person: entry.person,
        chat: entry.chat,
        guild: guild.as_ref(),
        at: Timestamp(at),
        micro_usd: entry.micro_usd - counted,
        reserved: reserved - was_reserved,
    };
    let moved = spend(tx, moved).await?;
    roll_up(tx, changes(entry, guild.as_ref(), stood.as_ref())).await?;
    Ok(Some(moved))
}

/// Moves the sums of a call that stands in the ledger.
async fn spend_more(tx: &mut Conn<'_>, stood: &Stood, micro_usd: i64, reserved: i64) -> Result<Moved> {
    let (chat, guild) = (stood.chat.parse()?, read_guild(stood.guild.clone())?);
    let (person, at) = (stood.person_id.parse()?, Timestamp(stood.at));
    spend(tx, Spend { person, chat: &chat, guild: guild.as_ref(), at, micro_usd, reserved }).await
}

/// Whether a call may be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// It is reserved.
    Yes,
    /// It would not fit into this budget: nothing is written.
    Over(Standing),
}

/// How a reservation is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// A call that has not ended by then never will.
    pub until: Timestamp,
    /// The instance that makes the call, if it writes heartbeats: nobody else can settle it.
    pub by: Option<InstanceId>,
}

impl From<Timestamp> for Hold {
    /// Of nobody whose death would be noticed.
    fn from(until: Timestamp) -> Self {
        Hold { until, by: None }
    }
}

/// A reservation whose call never ended.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Lost {
    pub key: String,
    pub provider: String,
    pub model: String,
    pub input_tokens: i64,
    pub micro_usd: i64,
}

/// A call whose cost is to be asked for again.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Unconfirmed {
    pub key: String,
    pub provider: String,
    /// How often the provider was asked in vain.
    pub tries: i64,
}

/// Calls that have ended, and for which something is still set aside.
pub const LEFT_OVER: &str = r"
    SELECT key
    FROM ledger
    WHERE reserved > 0 AND outcome <> 'started'
    ORDER BY at
    LIMIT $1";

/// The outcome of a call whose reservation was given up.
pub const LOST: &str = "lost";

impl Store {
    /// Reserves what a call may cost, if it fits into every budget it falls under: those that admins have set, and
    /// `caps` where they have set none. The reservation is given up when its hold ends, unless the call has ended by
    /// then.
    pub async fn reserve(
        &self,
        entry: &Entry<'_>,
        caps: &[(&str, Span, i64)],
        hold: impl Into<Hold>,
    ) -> Result<Reserved> {
        let hold = hold.into();
        self.db.exclusive(&[MONEY], async |tx| reserve(tx, entry, caps, hold).await).await
    }

    /// Writes a call into the ledger; `false` if it stood there already. What was reserved for it gives way to any end
    /// of it, and an estimate to what the provider says.
    pub async fn record(&self, entry: Entry<'_>) -> Result<bool> {
        Ok(self.settle(entry, &[], None).await?.is_some())
    }

    /// [`Store::record`], with how the budgets stand after it and the mark that the owner was told of last; `None` if
    /// it stood there already. The cost is asked for again at `confirm_at`, if that is given.
    pub async fn settle(
        &self,
        entry: Entry<'_>,
        caps: &[(&str, Span, i64)],
        confirm_at: Option<Timestamp>,
    ) -> Result<Option<Vec<(Standing, i64)>>> {
        let settle = async |tx: &mut Conn<'_>| {
            let chat = current_id(tx, entry.chat).await?;
            let entry = Entry { chat: &chat, ..entry.clone() };
            let stood = Stood::find(tx, entry.key).await?;
            // The community is the one it was reserved for, whatever became known since.
            let guild = match &stood {
                Some(stood) => read_guild(stood.guild.clone())?,
                None => guild_of(tx, &chat).await?,
            };
            write_entry(tx, &entry, stood, guild, None, confirm_at).await
        };
        let moved = self.costs.exclusive(&[MONEY], settle).await?;
        Ok(moved.map(|moved| moved.standings(caps)))
    }

    /// Calls whose cost is to be asked for again by `now`, the longest due first.
    pub async fn charges_to_confirm(&self, now: Timestamp, limit: u32) -> Result<Vec<Unconfirmed>> {
        let sql = r"
            SELECT key, provider, confirm_tries AS tries
            FROM ledger
            WHERE confirm_at <= $1
            ORDER BY confirm_at, key
            LIMIT $2";
        self.db.fetch_all(sql, args![now.0, i64::from(limit)]).await
    }

    /// When the next charge is to be asked for again; `None` while every cost is final or an estimate for good.
    pub async fn next_charge_at(&self) -> Result<Option<Timestamp>> {
        let at: Option<i64> =
            self.db.fetch_value("SELECT MIN(confirm_at) FROM ledger WHERE confirm_at IS NOT NULL", args![]).await?;
        Ok(at.map(Timestamp))
    }

    /// The provider's final word on what a call cost: by how much that differs from the estimate, and how the budgets
    /// stand after it, each with the mark that the owner was told of last. Changes nothing once it has been said:
    /// `None`.
    pub async fn confirm_charge(
        &self,
        key: &str,
        micro_usd: i64,
        caps: &[(&str, Span, i64)],
    ) -> Result<Option<(i64, Vec<(Standing, i64)>)>> {
        let moved = self.db.exclusive(&[MONEY], async |tx| confirm_charge(tx, key, micro_usd).await).await?;
        Ok(moved.map(|(difference, moved)| (difference, moved.standings(caps))))
    }

    /// The provider could not say, `tries` times by now: it is asked again `at`; never, if that is `None`, and the
    /// estimate stays.
    pub async fn postpone_charge(&self, key: &str, at: Option<Timestamp>, tries: i64) -> Result<()> {
        let sql = r"
            UPDATE ledger
            SET confirm_at = $1, confirm_tries = $2
            WHERE key = $3 AND confirm_at IS NOT NULL";
        self.db.execute(sql, args![at.map(|at| at.0), tries, key]).await?;
        Ok(())
    }

    /// What is reserved under a key stands under another one from now on, in one statement: the sums do not move, so
    /// nobody else can take it in between. `false`, and nothing is changed, if nothing is reserved under `key` or
    /// something stands under `new` already.
    pub async fn rekey(&self, key: &str, new: &str) -> Result<bool> {
        let sql = r"
            UPDATE ledger
            SET key = $1
            WHERE key = $2 AND outcome = 'started'
                AND NOT EXISTS (SELECT 1 FROM ledger AS other WHERE other.key = $1)";
        Ok(self.costs.execute_alone(MONEY, sql, args![new, key]).await? == 1)
    }

    /// The newest call since `since` whose key begins with `prefix` and whose end nobody heard stands under `run` from now
    /// on; one that ended with an estimate is confirmed at `confirm_at`. The sums do not move. `false`, and nothing is
    /// changed, if there is none or `run` is settled; one that stands under `run` without an end is taken again.
    pub async fn adopt(&self, prefix: &str, since: Timestamp, run: &str, confirm_at: Timestamp) -> Result<bool> {
        let adopt = async |tx: &mut Conn<'_>| {
            if let Some(stood) = Stood::find(tx, run).await? {
                return Ok([STARTED, LOST].contains(&stood.outcome.as_str()));
            }
            let sql = r"
                UPDATE ledger
                SET key = $1,
                    confirm_at = CASE WHEN outcome IN ('started', 'lost') THEN confirm_at ELSE $4 END
                WHERE key = (
                    SELECT key
                    FROM ledger
                    WHERE at >= $3 AND key LIKE $2 AND (outcome IN ('started', 'lost') OR estimated)
                    ORDER BY at DESC, key DESC
                    LIMIT 1
                )";
            Ok(tx.execute(sql, args![run, format!("{prefix}%"), since.0, confirm_at.0]).await? == 1)
        };
        self.costs.exclusive(&[MONEY], adopt).await
    }

    /// Takes back what was reserved for a call that was not made.
    pub async fn unreserve(&self, key: &str) -> Result<()> {
        #[derive(sqlx::FromRow)]
        struct Reservation {
            at: i64,
            micro_usd: i64,
            reserved: i64,
            person_id: String,
            chat: String,
            guild: Option<String>,
        }
        let unreserve = async |tx: &mut Conn<'_>| {
            let sql = r"
                DELETE FROM ledger
                WHERE key = $1 AND outcome = 'started'
                RETURNING at, micro_usd, reserved, person_id, chat, guild";
            let row: Option<Reservation> = tx.fetch_optional(sql, args![key]).await?;
            if let Some(row) = row {
                let (person, chat, guild) = (row.person_id.parse()?, row.chat.parse()?, read_guild(row.guild)?);
                let (guild, at) = (guild.as_ref(), Timestamp(row.at));
                let (micro_usd, reserved) = (-row.micro_usd, -row.reserved);
                spend(tx, Spend { person, chat: &chat, guild, at, micro_usd, reserved }).await?;
            }
            Ok(())
        };
        self.costs.exclusive(&[MONEY], unreserve).await
    }

    /// Reservations that should have ended before `now`, or whose instance is gone: its heartbeats have ended, and the
    /// call is older than an instance that lives may be silent.
    pub async fn lost_reservations(&self, now: Timestamp, limit: u32) -> Result<Vec<Lost>> {
        let sql = r"
            SELECT key, provider, model, input_tokens, micro_usd
            FROM ledger
            WHERE reserved_until IS NOT NULL
                AND (
                    reserved_until < $1
                        OR (
                            at <= $2
                                AND instance IS NOT NULL
                                AND NOT EXISTS (
                                    SELECT 1
                                    FROM instances
                                    WHERE id = ledger.instance AND seen_at > $2
                                )
                        )
                )
            ORDER BY reserved_until
            LIMIT $3";
        self.db.fetch_all(sql, args![now.0, (now - ALIVE).0, i64::from(limit)]).await
    }

    /// Takes back what is still set aside for calls that have ended, because a release that did not tell it apart has
    /// ended them. Returns how many there were; of more than `limit` the rest is for the next time.
    pub async fn free_left_over(&self, limit: u32) -> Result<u64> {
        let keys: Vec<String> = self.db.fetch_values(LEFT_OVER, args![i64::from(limit)]).await?;
        if keys.is_empty() {
            return Ok(0);
        }
        let free = async |tx: &mut Conn<'_>| {
            let mut freed = 0;
            for key in &keys {
                let stood = Stood::find_if(tx, key, "reserved > 0 AND outcome <> 'started'").await?;
                let Some(stood) = stood else { continue };
                spend_more(tx, &stood, 0, -stood.reserved).await?;
                tx.execute("UPDATE ledger SET reserved = 0 WHERE key = $1", args![key]).await?;
                freed += 1;
            }
            Ok(freed)
        };
        self.db.exclusive(&[MONEY], free).await
    }

    /// Gives a reservation up: from now on this is what the call is taken to have cost.
    pub async fn give_up_reservation(&self, key: &str, micro_usd: i64) -> Result<()> {
        let give_up = async |tx: &mut Conn<'_>| {
            if let Some(stood) = Stood::find_if(tx, key, "reserved_until IS NOT NULL").await? {
                spend_more(tx, &stood, micro_usd - stood.micro_usd, -stood.reserved).await?;
                let sql = r"
                    UPDATE ledger
                    SET micro_usd = $1, output_tokens = 0, reserved_until = NULL, reserved = 0, outcome = $2
                    WHERE key = $3";
                tx.execute(sql, args![micro_usd, LOST, key]).await?;
                let given_up = Stood { micro_usd, output_tokens: 0, outcome: LOST.to_owned(), ..stood.clone() };
                roll_up(tx, settled(Some(&stood), &given_up)).await?;
            }
            Ok(())
        };
        self.db.exclusive(&[MONEY], give_up).await
    }
}

async fn reserve(tx: &mut Conn<'_>, entry: &Entry<'_>, caps: &[(&str, Span, i64)], hold: Hold) -> Result<Reserved> {
    let chat = current_id(tx, entry.chat).await?;
    let entry = &Entry { chat: &chat, ..entry.clone() };
    let funds = Funds::read(tx, entry.person, entry.chat, entry.at, entry.key).await?;
    let standings = funds.standings(caps, entry.person, entry.chat, entry.at);
    let over = |standing: &&Standing| standing.used.total().saturating_add(entry.micro_usd) > standing.cap.micro_usd;
    if let Some(over) = standings.iter().find(over) {
        // Unless this is what fills it: reserved by a try whose answer was lost.
        let is_reserved = funds.is_written && Stood::find_if(tx, entry.key, "outcome = 'started'").await?.is_some();
        return Ok(if is_reserved { Reserved::Yes } else { Reserved::Over(over.clone()) });
    }
    let stood = if funds.is_written { Stood::find(tx, entry.key).await? } else { None };
    let guild = match &stood {
        Some(stood) => read_guild(stood.guild.clone())?,
        None => funds.guild,
    };
    write_entry(tx, entry, stood, guild, Some(hold), None).await?;
    Ok(Reserved::Yes)
}

async fn confirm_charge(tx: &mut Conn<'_>, key: &str, micro_usd: i64) -> Result<Option<(i64, Moved)>> {
    let stood = Stood::find_if(tx, key, "confirm_at IS NOT NULL").await?;
    let Some(stood) = stood else { return Ok(None) };
    let difference = micro_usd - stood.micro_usd;
    let moved = spend_more(tx, &stood, difference, 0).await?;
    let sql = "UPDATE ledger SET micro_usd = $1, estimated = FALSE, confirm_at = NULL WHERE key = $2";
    tx.execute(sql, args![micro_usd, key]).await?;
    roll_up(tx, settled(Some(&stood), &Stood { micro_usd, estimated: false, ..stood.clone() })).await?;
    Ok(Some((difference, moved)))
}
