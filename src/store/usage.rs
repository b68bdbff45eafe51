//! What was used and what it cost, summed up by day in the transaction that writes the thing itself. Owns the roll-ups,
//! the bounds of their histograms, and what reports read of them; never reads the ledger for a report, but for what is
//! reserved this moment.

pub(super) mod written;

use sqlx::AssertSqlSafe;

use crate::clock::Timestamp;
use crate::ids::{ChatId, GuildId};

use super::{Arg, Conn, Result, Store, args};

pub use self::written::Entry;
pub(super) use self::written::OR_ADD_TO_PLACES;
pub(super) use self::written::{Counted, Stood, Within, changes, count_up, guild_name, roll_up, settled, time_up};
use super::budgets::guild_of;

/// The length of a day in milliseconds.
const DAY_MS: i64 = 86_400_000;

/// How many days a coarse row of `usage_places` sums up.
const BLOCK: i64 = 28;

/// Days since 1970-01-01 UTC, the last one not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days {
    pub from: i64,
    pub to: i64,
}

impl Days {
    /// The day that a moment is in.
    pub fn of(at: Timestamp) -> i64 {
        at.0.div_euclid(DAY_MS)
    }

    /// The moment at which a day begins.
    pub fn begin(day: i64) -> Timestamp {
        Timestamp(day.saturating_mul(DAY_MS))
    }

    pub fn count(self) -> i64 {
        (self.to - self.from).max(0)
    }

    /// The whole blocks among them; empty if there is none.
    fn blocks(self) -> Days {
        let from = self.from.div_euclid(BLOCK) * BLOCK + if self.from.rem_euclid(BLOCK) == 0 { 0 } else { BLOCK };
        let to = self.to.div_euclid(BLOCK) * BLOCK;
        if from < to { Days { from, to } } else { Days { from: self.from, to: self.from } }
    }
}

/// Sums of calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, sqlx::FromRow)]
pub struct Sums {
    pub calls: i64,
    /// Of them: ended neither well nor because nobody wanted them any more.
    pub failed: i64,
    /// Of them: ended because nobody wanted them any more, or the program was shut down.
    pub called_off: i64,
    pub input_tokens: i64,
    /// Of the input tokens.
    pub cached_tokens: i64,
    pub cache_write_tokens: i64,
    pub output_tokens: i64,
    /// Of the output tokens.
    pub reasoning_tokens: i64,
    pub micro_usd: i64,
    /// Of the cost: what no provider has confirmed.
    pub estimated_micro_usd: i64,
}

impl std::ops::AddAssign for Sums {
    fn add_assign(&mut self, more: Sums) {
        self.calls += more.calls;
        self.failed += more.failed;
        self.called_off += more.called_off;
        self.input_tokens += more.input_tokens;
        self.cached_tokens += more.cached_tokens;
        self.cache_write_tokens += more.cache_write_tokens;
        self.output_tokens += more.output_tokens;
        self.reasoning_tokens += more.reasoning_tokens;
        self.micro_usd += more.micro_usd;
        self.estimated_micro_usd += more.estimated_micro_usd;
    }
}

impl std::ops::Neg for Sums {
    type Output = Sums;
    fn neg(self) -> Sums {
        Sums {
            calls: -self.calls,
            failed: -self.failed,
            called_off: -self.called_off,
            input_tokens: -self.input_tokens,
            cached_tokens: -self.cached_tokens,
            cache_write_tokens: -self.cache_write_tokens,
            output_tokens: -self.output_tokens,
            reasoning_tokens: -self.reasoning_tokens,
            micro_usd: -self.micro_usd,
            estimated_micro_usd: -self.estimated_micro_usd,
        }
    }
}

/// Calls of one day, by what was called.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct ModelRow {
    pub day: i64,
    pub platform: String,
    pub provider: String,
    pub model: String,
    pub tool: String,
    #[sqlx(flatten)]
    pub sums: Sums,
}

/// By what the calls of a period are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Guild,
    Chat,
    Person,
}

/// Calls of a period of one group.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct PlaceRow {
    /// The id in its text form; empty: what belongs to no community.
    pub key: String,
    /// Of a person, as one of their accounts was last called.
    pub name: Option<String>,
    /// How many groups there are in all.
    pub groups: i64,
    #[sqlx(flatten)]
    pub sums: Sums,
}

/// How often something happened on a day.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct CountRow {
    pub day: i64,
    pub platform: String,
    /// As `Counted` names it.
    pub what: String,
    pub outcome: String,
    pub count: i64,
}

impl CountRow {
    /// Messages that were answered.
    pub fn is_message(&self) -> bool {
        self.what == Counted::Talk.name() && self.outcome == "answered"
    }

    /// Reels that were read.
    pub fn is_read_reel(&self) -> bool {
        self.what == Counted::Job.name() && self.outcome == "done"
    }
}

/// How often something took how long, in one slot of a period.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct TimeRow {
    /// Number of the slot, from 0.
    pub slot: i64,
    /// As [`Timed`] names it.
    pub what: String,
    /// See [`Buckets`].
    pub bucket: i64,
    pub count: i64,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timed {
    /// From a message's arrival to the first text of the model on screen.
    FirstText,
    /// From a message's arrival to the end of the model's answer.
    Answer,
    /// From the wish for a new reel to the beginning of the work on it, the person's own spacing included.
    Wait,
}

impl Timed {
    pub fn name(self) -> &'static str {
        match self {
            Timed::FirstText => "first_text",
            Timed::Answer => "answer",
            Timed::Wait => "wait",
        }
    }
}

/// The bounds of all histograms: each power of two of milliseconds is cut into eight equal parts, so that a bucket is
/// at most an eighth of its lower bound wide.
pub struct Buckets;

impl Buckets {
    /// The most by which a percentile may be off, in percent of it.
    pub const ERROR_PERCENT: f64 = 12.5;

    /// The bucket that so many milliseconds are in.
    pub fn of(ms: i64) -> i64 {
        let ms = ms.clamp(0, LONGEST_MS);
        if ms < 8 {
            return ms;
        }
        let power = i64::from(ms.ilog2());
        (power - 2) * 8 + ((ms >> (power - 3)) - 8)
    }

    /// The least number of milliseconds in a bucket.
    pub fn lower(bucket: i64) -> i64 {
        if bucket < 8 { bucket.max(0) } else { (8 + bucket % 8) << (bucket / 8 - 1).min(40) }
    }

    /// The `share` (0.5, 0.95) quantile in milliseconds of a histogram, its buckets ascending: by rank within its
    /// bucket, never outside of it. `None` if it is empty.
    pub fn quantile(histogram: &[(i64, i64)], share: f64) -> Option<f64> {
        let all: i64 = histogram.iter().map(|(_, count)| count).sum();
        if all <= 0 {
            return None;
        }
        let rank = (share * all as f64).max(1.0);
        let mut below = 0;
        for (bucket, count) in histogram.iter().filter(|(_, count)| *count > 0) {
            if (below + count) as f64 >= rank {
                let (low, high) = (Buckets::lower(*bucket) as f64, Buckets::lower(bucket + 1) as f64 - 1.0);
                return Some(low + (high - low) * ((rank - below as f64 - 0.5) / *count as f64).clamp(0.0, 1.0));
            }
            below += count;
        }
        None
    }
}

/// Twelve days: nothing that is measured takes longer and is worth telling apart.
const LONGEST_MS: i64 = 1 << 30;

/// What is set aside this moment for calls that have not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct ReservedNow {
    pub calls: i64,
    pub micro_usd: i64,
}

impl Store {
    /// Calls by day and by what was called, of everything or of one community, by day.
    pub async fn usage_of_models(&self, period: Days, guild: Option<&GuildId>) -> Result<Vec<ModelRow>> {
        let sql = r"
            SELECT day, platform, provider, model, tool, calls, failed, called_off, input_tokens,
                cached_tokens, cache_write_tokens, output_tokens, reasoning_tokens, micro_usd,
                estimated_micro_usd
            FROM usage_models
            WHERE guild = $1 AND day >= $2 AND day < $3
            ORDER BY day, platform, provider, model, tool";
        self.db.fetch_all(sql, args![guild_name(guild), period.from, period.to]).await
    }

    /// Calls by community, chat or person, of everything or of one community: the `limit` dearest, the dearest first.
    pub async fn usage_of_places(
        &self,
        by: Place,
        period: Days,
        guild: Option<&GuildId>,
        limit: u32,
    ) -> Result<Vec<PlaceRow>> {
        let statement = match (by, guild.is_some()) {
            (Place::Guild, false) => of_places("guild", "NULL", ""),
            (Place::Guild, true) => of_places("guild", "NULL", " AND guild = $6"),
            (Place::Chat, false) => of_places("chat", "NULL", ""),
            (Place::Chat, true) => of_places("chat", "NULL", " AND guild = $6"),
            (Place::Person, false) => of_places("person_id", NAME, ""),
            (Place::Person, true) => of_places("person_id", NAME, " AND guild = $6"),
        };
        let blocks = period.blocks();
        let mut args = [blocks.from, blocks.to, period.from, period.to, i64::from(limit)].map(Arg::from).to_vec();
        args.extend(guild.map(|guild| Arg::from(guild.to_string())));
        self.db.fetch_all(AssertSqlSafe(statement), &args).await
    }

    /// How often what happened, by day.
    pub async fn usage_counts(&self, period: Days, guild: Option<&GuildId>) -> Result<Vec<CountRow>> {
        let sql = r"
            SELECT day, platform, what, outcome, count
            FROM usage_counts
            WHERE guild = $1 AND day >= $2 AND day < $3
            ORDER BY day, platform, what, outcome";
        self.db.fetch_all(sql, args![guild_name(guild), period.from, period.to]).await
    }

    /// Histograms of a period in slots of `step` days (at least 1), buckets ascending.
    pub async fn usage_times(&self, period: Days, step: i64, guild: Option<&GuildId>) -> Result<Vec<TimeRow>> {
        let sql = r"
            SELECT (day - $2) / $4 AS slot, what, bucket, CAST(SUM(count) AS BIGINT) AS count
            FROM usage_times
            WHERE guild = $1 AND day >= $2 AND day < $3
            GROUP BY 1, 2, 3
            ORDER BY 1, 2, 3";
        self.db.fetch_all(sql, args![guild_name(guild), period.from, period.to, step.max(1)]).await
    }

    /// What is set aside this moment.
    pub async fn reserved_now(&self, guild: Option<&GuildId>) -> Result<ReservedNow> {
        // Two statements, because a condition on a value would hide the index from them.
        let all = r"
            SELECT COUNT(*) AS calls, CAST(COALESCE(SUM(micro_usd), 0) AS BIGINT) AS micro_usd
            FROM ledger
            WHERE reserved_until IS NOT NULL";
        let within = r"
            SELECT COUNT(*) AS calls, CAST(COALESCE(SUM(micro_usd), 0) AS BIGINT) AS micro_usd
            FROM ledger
            WHERE reserved_until IS NOT NULL AND guild = $1";
        match guild {
            None => self.db.fetch_one(all, args![]).await,
            Some(guild) => self.db.fetch_one(within, args![guild.to_string()]).await,
        }
    }

    /// Counts a call of one of the model's tools in a chat.
    pub async fn count_tool(&self, chat: &ChatId, worked: bool, at: Timestamp) -> Result<()> {
        let outcome = if worked { "ok" } else { "failed" };
        let count = async |tx: &mut Conn<'_>| {
            let within = Within::new(chat, guild_of(tx, chat).await?);
            count_up(tx, &within, at, &[(Counted::Tool, outcome)]).await
        };
        self.db.exclusive(&[COUNTS], count).await
    }
}

/// Whom a tool's count waits for on PostgreSQL: nobody but its like.
const COUNTS: &str = "counts";

/// The first account of a person.
const NAME: &str =
    "(SELECT a.name FROM accounts a WHERE a.person_id = g.key ORDER BY a.created_at, a.platform LIMIT 1)";

/// Groups whole blocks and the days at both edges: `$1`, `$2` the blocks, `$3`, `$4` the period, `$5` the limit.
fn of_places(key: &str, name: &str, within: &str) -> String {
    let columns = "calls, failed, called_off, input_tokens, cached_tokens, cache_write_tokens, output_tokens, \
                   reasoning_tokens, micro_usd, estimated_micro_usd";
    let sums: Vec<String> =
        columns.split(", ").map(|column| format!("CAST(SUM({column}) AS BIGINT) AS {column}")).collect();
    let part = |days: i64, from: &str, to: &str| {
        format!(
            r"
                SELECT {key} AS key, {columns}
                FROM usage_places
                WHERE days = {days} AND first_day >= {from} AND first_day < {to}{within}"
        )
    };
    format!(
        r"
            SELECT g.key, {name} AS name, g.groups, {columns}
            FROM (
                SELECT key, COUNT(*) OVER () AS groups, {sums}
                FROM ({} UNION ALL {} UNION ALL {}) p
                GROUP BY key
                ORDER BY micro_usd DESC, key
                LIMIT $5
            ) g
            ORDER BY micro_usd DESC, g.key",
        part(BLOCK, "$1", "$2"),
        part(1, "$3", "$1"),
        part(1, "$2", "$4"),
        sums = sums.join(", "),
    )
}

#[cfg(test)]
mod tests;
