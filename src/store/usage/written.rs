//! The writing side of the roll-ups: what a change of the ledger, a turn or a job adds to them. Part of other
//! transactions, and the last thing in them: many meet at these rows, and nobody may wait for anything else while they
//! hold one.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::AssertSqlSafe;

use crate::clock::Timestamp;
use crate::ids::{ChatId, GuildId, PersonId, Platform};
use crate::store::{Arg, Conn, Result, args, sql};
use crate::upstream::{Provider, STARTED, Usage};

use super::{BLOCK, Buckets, Days, Sums, Timed};

/// One paid call.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Names the call: writing it again changes nothing.
    pub key: &'a str,
    pub at: Timestamp,
    pub person: PersonId,
    pub chat: &'a ChatId,
    pub provider: Provider,
    pub model: &'a str,
    /// What it was for: coach, summary, scrape, analyse, workflow.
    pub tool: &'a str,
    pub usage: Usage,
    pub micro_usd: i64,
    pub price_version: &'a str,
    pub latency_ms: i64,
    /// `ok`, the name of the cause of its failure, or [`crate::upstream::STARTED`].
    pub outcome: &'a str,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counted {
    /// Reels that were worked on and ended: done, failed, cancelled.
    Job,
    /// Reel turns that ended, by outcome.
    Reel,
    /// Reels asked for: queued, joined, cached, failed (known to), denied.
    Request,
    /// What answered: model, recalled, own, failure.
    Source,
    /// Turns of messages that ended, by outcome.
    Talk,
    /// Calls of the model's tools: ok, failed.
    Tool,
}

impl Counted {
    /// The name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Counted::Job => "job",
            Counted::Reel => "reel",
            Counted::Request => "request",
            Counted::Source => "source",
            Counted::Talk => "talk",
            Counted::Tool => "tool",
        }
    }
}

/// Where something happened.
#[derive(Clone, Debug)]
pub struct Within {
    pub platform: Platform,
    pub guild: Option<GuildId>,
}

impl Within {
    pub fn new(chat: &ChatId, guild: Option<GuildId>) -> Within {
        Within { platform: chat.platform, guild }
    }

    /// The sums it belongs to: those over everything, and those of its community. In the order of the rows' key: two
    /// who took them in different orders could wait for each other.
    pub fn guilds(&self) -> Vec<String> {
        std::iter::once(String::new()).chain(self.guild.as_ref().map(ToString::to_string)).collect()
    }
}

/// How a community is named in the roll-ups.
pub fn guild_name(guild: Option<&GuildId>) -> String {
    guild.map(ToString::to_string).unwrap_or_default()
}

/// What a ledger row says before it changes.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Stood {
    pub at: i64,
    pub person_id: String,
    pub platform: String,
    pub chat: String,
    pub guild: Option<String>,
    pub provider: String,
    pub model: String,
    pub tool: String,
    pub input_tokens: i64,
    pub cached_tokens: i64,
    pub cache_write_tokens: i64,
    pub output_tokens: i64,
    pub reasoning_tokens: i64,
    pub micro_usd: i64,
    /// The part of it that is set aside.
    pub reserved: i64,
    pub estimated: bool,
    pub outcome: String,
}

impl Stood {
    /// The call under a key.
    pub(in crate::store) async fn find(tx: &mut Conn<'_>, key: &str) -> Result<Option<Stood>> {
        tx.fetch_optional(Stood::SELECT, args![key]).await
    }

    /// The same where that holds of it, too.
    pub(in crate::store) async fn find_if(
        tx: &mut Conn<'_>,
        key: &str,
        condition: &'static str,
    ) -> Result<Option<Stood>> {
        tx.fetch_optional(AssertSqlSafe(format!("{} AND {condition}", Stood::SELECT)), args![key]).await
    }

    const SELECT: &str = r"
        SELECT at, person_id, platform, chat, guild, provider, model, tool, input_tokens, cached_tokens,
            cache_write_tokens, output_tokens, reasoning_tokens, micro_usd, reserved, estimated, outcome
        FROM ledger
        WHERE key = $1";

    /// What of it is in the roll-ups: nothing while it is only reserved.
    fn sums(&self) -> Sums {
        if self.outcome == STARTED {
            return Sums::default();
        }
        Sums {
            calls: 1,
            failed: i64::from(!matches!(self.outcome.as_str(), "ok" | CALLED_OFF)),
            called_off: i64::from(self.outcome == CALLED_OFF),
            input_tokens: tokens(self.input_tokens),
            cached_tokens: tokens(self.cached_tokens),
            cache_write_tokens: tokens(self.cache_write_tokens),
            output_tokens: tokens(self.output_tokens),
            reasoning_tokens: tokens(self.reasoning_tokens),
            micro_usd: self.micro_usd,
            estimated_micro_usd: if self.estimated { self.micro_usd } else { 0 },
        }
    }
}

/// A change of the sums of calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub day: i64,
    pub person: String,
    pub platform: String,
    pub chat: String,
    pub guild: Option<String>,
    pub provider: String,
    pub model: String,
    pub tool: String,
    pub sums: Sums,
}

/// What writing `entry` over what `stood` there changes. A call stays where and when it began; what it is found to have
/// called may change.
pub fn changes(entry: &Entry<'_>, guild: Option<&GuildId>, stood: Option<&Stood>) -> Vec<Change> {
    let count = |tokens: u64| i64::try_from(tokens).unwrap_or(i64::MAX);
    let new = Stood {
        at: stood.map_or(entry.at.0, |stood| stood.at),
        person_id: entry.person.to_string(),
        platform: entry.chat.platform.name().to_owned(),
        chat: entry.chat.to_string(),
        guild: stood.map_or_else(|| guild.map(ToString::to_string), |stood| stood.guild.clone()),
        provider: entry.provider.name().to_owned(),
        model: entry.model.to_owned(),
        tool: entry.tool.to_owned(),
        input_tokens: count(entry.usage.input_tokens),
        cached_tokens: count(entry.usage.cached_tokens),
        cache_write_tokens: count(entry.usage.cache_write_tokens),
        output_tokens: count(entry.usage.output_tokens),
        reasoning_tokens: count(entry.usage.reasoning_tokens),
        micro_usd: entry.micro_usd,
        reserved: 0,
        estimated: entry.usage.estimated,
        outcome: entry.outcome.to_owned(),
    };
    settled(stood, &new)
}

/// What it changes that `new` stands in the ledger instead of what `stood` there.
pub fn settled(stood: Option<&Stood>, new: &Stood) -> Vec<Change> {
    let taken = stood.map(|stood| (stood, -stood.sums()));
    let mut changes: Vec<Change> = Vec::new();
    for (row, sums) in taken.into_iter().chain([(new, new.sums())]) {
        let change = Change {
            day: Days::of(Timestamp(row.at)),
            person: row.person_id.clone(),
            platform: row.platform.clone(),
            chat: row.chat.clone(),
            guild: row.guild.clone(),
            provider: row.provider.clone(),
            model: row.model.clone(),
            tool: row.tool.clone(),
            sums,
        };
        match changes.iter_mut().find(|other| Change { sums, ..(*other).clone() } == change) {
            Some(other) => other.sums += sums,
            None => changes.push(change),
        }
    }
    changes.retain(|change| change.sums != Sums::default());
    changes
}

/// The outcome of a call that nobody wanted to its end (`Cause::Cancelled`).
const CALLED_OFF: &str = "cancelled";

/// No provider counts so many in one call, and sums of them stay numbers.
fn tokens(count: i64) -> i64 {
    count.clamp(0, 1_000_000_000_000)
}

/// Adds changes to the sums of calls. Part of a transaction.
pub(in crate::store) async fn roll_up(tx: &mut Conn<'_>, changes: Vec<Change>) -> Result<()> {
    for change in changes {
        let sums = change.sums;
        let sums = [
            sums.calls,
            sums.failed,
            sums.input_tokens,
            sums.cached_tokens,
            sums.cache_write_tokens,
            sums.output_tokens,
            sums.reasoning_tokens,
            sums.micro_usd,
            sums.called_off,
            sums.estimated_micro_usd,
        ]
        .map(Arg::from);
        let mut args = vec![Arg::from(change.day)];
        args.extend([&change.platform, &change.provider, &change.model, &change.tool].map(Arg::from));
        args.extend(sums.clone());
        args.extend(change.guild.as_ref().map(Arg::from));
        tx.execute(if change.guild.is_some() { ADD_TO_BOTH_MODELS } else { ADD_TO_MODELS }, &args).await?;
        let mut args = [change.day, block(change.day)].map(Arg::from).to_vec();
        args.extend([&change.person, &change.chat].map(Arg::from));
        args.push(Arg::from(change.guild.as_deref().unwrap_or_default()));
        args.extend(sums);
        tx.execute(ADD_TO_PLACES, &args).await?;
    }
    Ok(())
}

/// Adds one to the counts of what happened in a place at a time. Part of a transaction.
pub(in crate::store) async fn count_up(
    tx: &mut Conn<'_>,
    within: &Within,
    at: Timestamp,
    counted: &[(Counted, &'static str)],
) -> Result<()> {
    let (guilds, counted) = (within.guilds(), gathered(counted));
    if counted.is_empty() {
        return Ok(());
    }
    let mut args = vec![Arg::from(Days::of(at)), Arg::from(within.platform.name())];
    for guild in &guilds {
        for ((what, outcome), count) in &counted {
            args.extend([Arg::from(guild), Arg::from(what.name()), Arg::from(*outcome), Arg::from(*count)]);
        }
    }
    tx.execute(AssertSqlSafe(add_to_counts(guilds.len() * counted.len())), &args).await?;
    Ok(())
}

/// Adds to the histograms how long something took. Part of a transaction, behind [`count_up`].
pub(in crate::store) async fn time_up(
    tx: &mut Conn<'_>,
    within: &Within,
    at: Timestamp,
    times: &[(Timed, Duration)],
) -> Result<()> {
    let (guilds, times) = (within.guilds(), bucketed(times));
    if times.is_empty() {
        return Ok(());
    }
    let mut args = vec![Arg::from(Days::of(at))];
    for guild in &guilds {
        for ((what, bucket), count) in &times {
            args.extend([Arg::from(guild), Arg::from(*what), Arg::from(*bucket), Arg::from(*count)]);
        }
    }
    tx.execute(AssertSqlSafe(add_to_times(guilds.len() * times.len())), &args).await?;
    Ok(())
}

/// Counts of each thing, sorted, so that all transactions lock rows in the same order.
fn gathered(counted: &[(Counted, &'static str)]) -> Vec<((Counted, &'static str), i64)> {
    let mut all: BTreeMap<(Counted, &'static str), i64> = BTreeMap::new();
    for one in counted {
        *all.entry(*one).or_default() += 1;
    }
    all.into_iter().collect()
}

/// How often what took how long, by bucket of the histogram, in the order in which everybody takes the rows.
fn bucketed(times: &[(Timed, Duration)]) -> Vec<((&'static str, i64), i64)> {
    let mut all: BTreeMap<(&'static str, i64), i64> = BTreeMap::new();
    for (what, took) in times {
        let bucket = Buckets::of(i64::try_from(took.as_millis()).unwrap_or(i64::MAX));
        *all.entry((what.name(), bucket)).or_default() += 1;
    }
    all.into_iter().collect()
}

/// Adds to so many counts. `$1` the day, `$2` the platform; then community, what, outcome and number of each.
fn add_to_counts(rows: usize) -> String {
    let row = |nth| format!("(${}, $1, $2, ${}, ${}, ${})", 4 * nth + 3, 4 * nth + 4, 4 * nth + 5, 4 * nth + 6);
    let rows: Vec<String> = (0..rows).map(row).collect();
    format!(
        r"
            INSERT INTO usage_counts (guild, day, platform, what, outcome, count)
            VALUES {}
            ON CONFLICT (guild, day, platform, what, outcome)
        DO UPDATE SET count = usage_counts.count + excluded.count",
        rows.join(", ")
    )
}

/// Adds to so many buckets. `$1` the day; then community, what, bucket and number of each.
fn add_to_times(rows: usize) -> String {
    let row = |nth| format!("(${}, $1, ${}, ${}, ${})", 4 * nth + 2, 4 * nth + 3, 4 * nth + 4, 4 * nth + 5);
    let rows: Vec<String> = (0..rows).map(row).collect();
    format!(
        r"
            INSERT INTO usage_times (guild, day, what, bucket, count)
            VALUES {}
            ON CONFLICT (guild, day, what, bucket) DO UPDATE SET count = usage_times.count + excluded.count",
        rows.join(", ")
    )
}

/// The first day of the block that a day is in.
fn block(day: i64) -> i64 {
    day.div_euclid(BLOCK) * BLOCK
}

const INSERT_INTO_MODELS: &str = r"
    INSERT INTO usage_models (guild, day, platform, provider, model, tool, calls, failed, input_tokens, cached_tokens,
        cache_write_tokens, output_tokens, reasoning_tokens, micro_usd, called_off, estimated_micro_usd)
    VALUES ('', $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";

const OF_A_COMMUNITY: &str = ", ($16, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";

const OR_ADD_TO_MODELS: &str = r"
    ON CONFLICT (guild, day, platform, provider, model, tool) DO UPDATE SET
        calls = usage_models.calls + excluded.calls,
        failed = usage_models.failed + excluded.failed,
        input_tokens = usage_models.input_tokens + excluded.input_tokens,
        cached_tokens = usage_models.cached_tokens + excluded.cached_tokens,
        cache_write_tokens = usage_models.cache_write_tokens + excluded.cache_write_tokens,
        output_tokens = usage_models.output_tokens + excluded.output_tokens,
        reasoning_tokens = usage_models.reasoning_tokens + excluded.reasoning_tokens,
        micro_usd = usage_models.micro_usd + excluded.micro_usd,
        called_off = usage_models.called_off + excluded.called_off,
        estimated_micro_usd = usage_models.estimated_micro_usd + excluded.estimated_micro_usd";

/// Adds to the sums over everything.
const ADD_TO_MODELS: &str = sql!(INSERT_INTO_MODELS, OR_ADD_TO_MODELS);

/// Adds to them and to those of a community, `$16`.
const ADD_TO_BOTH_MODELS: &str = sql!(INSERT_INTO_MODELS, OF_A_COMMUNITY, OR_ADD_TO_MODELS);

/// Where a place has its sums already, they grow.
pub const OR_ADD_TO_PLACES: &str = r"
    ON CONFLICT (days, first_day, person_id, chat, guild) DO UPDATE SET
        calls = usage_places.calls + excluded.calls,
        failed = usage_places.failed + excluded.failed,
        input_tokens = usage_places.input_tokens + excluded.input_tokens,
        cached_tokens = usage_places.cached_tokens + excluded.cached_tokens,
        cache_write_tokens = usage_places.cache_write_tokens + excluded.cache_write_tokens,
        output_tokens = usage_places.output_tokens + excluded.output_tokens,
        reasoning_tokens = usage_places.reasoning_tokens + excluded.reasoning_tokens,
        micro_usd = usage_places.micro_usd + excluded.micro_usd,
        called_off = usage_places.called_off + excluded.called_off,
        estimated_micro_usd = usage_places.estimated_micro_usd + excluded.estimated_micro_usd";

/// `$1` the day, `$2` its block.
const ADD_TO_PLACES: &str = sql!(
    r"
    INSERT INTO usage_places (days, first_day, person_id, chat, guild, calls, failed, input_tokens, cached_tokens,
        cache_write_tokens, output_tokens, reasoning_tokens, micro_usd, called_off, estimated_micro_usd)
    VALUES (1, $1, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15),
        (28, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
    OR_ADD_TO_PLACES
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Cause;

    fn row(model: &str, outcome: &str, micro_usd: i64) -> Stood {
        Stood {
            at: 86_400_000 * 30 + 5,
            person_id: "p".into(),
            platform: "discord".into(),
            chat: "discord:1".into(),
            guild: Some("discord:9".into()),
            provider: "openai".into(),
            model: model.into(),
            tool: "coach".into(),
            input_tokens: 100,
            cached_tokens: 10,
            cache_write_tokens: 0,
            output_tokens: i64::MAX,
            reasoning_tokens: 1,
            micro_usd,
            reserved: if outcome == STARTED { micro_usd } else { 0 },
            estimated: outcome == STARTED,
            outcome: outcome.into(),
        }
    }

    #[test]
    fn only_what_is_new_of_a_call_is_added() {
        let reserved = row("large", STARTED, 900);
        assert_eq!(settled(None, &reserved), [], "a reservation is no call yet");
        let ended = settled(Some(&reserved), &row("large", "ok", 70));
        assert_eq!(ended.len(), 1);
        let sums = ended[0].sums;
        assert_eq!((sums.calls, sums.failed, sums.micro_usd, sums.output_tokens), (1, 0, 70, 1_000_000_000_000));
        assert_eq!((ended[0].day, block(ended[0].day)), (30, 28));
        let late = settled(Some(&row("large", "lost", 40)), &row("large", "ok", 70));
        assert_eq!(late[0].sums, Sums { failed: -1, micro_usd: 30, ..Sums::default() });
        let off = settled(Some(&reserved), &row("large", Cause::Cancelled.name(), 70));
        assert_eq!((off[0].sums.calls, off[0].sums.failed, off[0].sums.called_off), (1, 0, 1));
        let other = settled(Some(&row("large", "ok", 40)), &row("small", "ok", 40));
        let moved: Vec<_> = other.iter().map(|change| (change.model.as_str(), change.sums.calls)).collect();
        assert_eq!(moved, [("large", -1), ("small", 1)]);
    }

    #[test]
    fn everybody_takes_the_rows_in_one_order() {
        let counted = [(Counted::Talk, "answered"), (Counted::Request, "queued"), (Counted::Talk, "answered")];
        assert_eq!(gathered(&counted), [((Counted::Request, "queued"), 1), ((Counted::Talk, "answered"), 2)]);
    }
}
